#!/usr/bin/env bash
# osc-lib 4.6.0 (the library of the openstack command) and Horizon's Django filters: one image, two sizes.
#
# `openstack image show --human-readable` formats sizes with osc_lib.utils.format_size, which divides by 1000 and writes
# a bare suffix. Dashboards on Django use filesizeformat, which divides by 1024 and writes "GB" or "MB". Neither unit is
# wrong in itself; side by side they are two numbers for the same 1.5 GiB image, and neither suffix tells which base was
# used. A tool that prints "1.5G" beside them is read as a third size: IEC suffixes (KiB, MiB, GiB) are the only ones that
# can't be misread.
#
# Output seen:
#   osc-lib:  1.6G
#   Django:   1.5 GB
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet osc-lib==4.6.0 Django==5.2.8
"$work/env/bin/python" - <<'PY'
import django
from django.conf import settings

settings.configure(USE_I18N=False)
django.setup()
from django.template.defaultfilters import filesizeformat
from osc_lib import utils

size = 3 * 1024**3 // 2
cli, dashboard = utils.format_size(size), filesizeformat(size).replace("\xa0", " ")
print(f"osc-lib:  {cli}\nDjango:   {dashboard}")
assert (cli, dashboard) == ("1.6G", "1.5 GB"), "this has changed"
PY
