// A page without a browser: Horizon's globals, as far as the plugin needs them, and the plugin's scripts.

import { readFileSync } from 'node:fs'
import vm from 'node:vm'

import { formatSize } from '../../src/core/size.js'

export const SCRIPTS = new URL('../resumable_glance_dashboard/static/resumable_glance_dashboard/', import.meta.url)

/** Load messages.js; `globals` are added. `run(name)` loads another script. */
export const page = (globals = {}) => {
  const context = vm.createContext({
    ResumableGlance: { formatSize },
    horizon: {},
    gettext: (text) => text,
    ngettext: (one, many, count) => (count === 1 ? one : many),
    interpolate: (text, values) => text.replace(/%\((\w+)\)s/g, (_, name) => values[name]),
    document: { querySelectorAll: () => [], querySelector: () => null },
    File,
    ...globals,
  })
  const run = (name) => vm.runInContext(readFileSync(new URL(name, SCRIPTS), 'utf8'), context)
  run('messages.js')
  return { horizon: context.horizon, plugin: context.horizon.resumableGlance, run }
}
