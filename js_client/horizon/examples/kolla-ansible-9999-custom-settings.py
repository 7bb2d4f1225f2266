# Kolla-Ansible: /etc/kolla/config/horizon/_9999-custom-settings.py, then `kolla-ansible reconfigure -t horizon`.
# The image needs the plugin: kolla-template-overrides.j2. An example, not deployed yet.

HORIZON_IMAGES_UPLOAD_MODE = "direct"
ENABLE_CLIENT_TOKEN = False
