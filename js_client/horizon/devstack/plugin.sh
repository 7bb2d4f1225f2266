# DevStack plugin: Horizon with resumable uploads. An example, not run in a DevStack yet.
#
# DevStack expects devstack/plugin.sh at the top of a repository. Until the plugin has its own, write in local.conf
#
#   RESUMABLE_GLANCE_DASHBOARD_DIR=/opt/stack/resumable-glance/js_client/horizon
#   enable_plugin resumable-glance-dashboard file:///opt/stack/resumable-glance-dashboard
#
# where /opt/stack/resumable-glance-dashboard is a Git repository with a copy of js_client/horizon.

function _resumable_glance_dashboard_enabled_files {
    ls "$RESUMABLE_GLANCE_DASHBOARD_DIR"/resumable_glance_dashboard/enabled/_[0-9]*.py
}

if is_service_enabled horizon; then
    if [[ "$1" == "stack" && "$2" == "install" ]]; then
        pip_install "$RESUMABLE_GLANCE_DASHBOARD_DIR"
    elif [[ "$1" == "stack" && "$2" == "post-config" ]]; then
        for file in $(_resumable_glance_dashboard_enabled_files); do
            cp -a "$file" "$HORIZON_DIR/openstack_dashboard/local/enabled/"
        done
        cat > "$HORIZON_DIR/openstack_dashboard/local/local_settings.d/_90_resumable_glance.py" <<EOF
HORIZON_IMAGES_UPLOAD_MODE = 'direct'
ENABLE_CLIENT_TOKEN = False
EOF
    fi
    if [[ "$1" == "unstack" || "$1" == "clean" ]]; then
        for file in $(_resumable_glance_dashboard_enabled_files); do
            rm -f "$HORIZON_DIR/openstack_dashboard/local/enabled/$(basename "$file")"
        done
        rm -f "$HORIZON_DIR/openstack_dashboard/local/local_settings.d/_90_resumable_glance.py"
    fi
fi
