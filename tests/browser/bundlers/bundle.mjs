// Builds the page of the working directory as each bundler's documentation says: node bundle.mjs BUNDLER
// The result is in www/. `vite-dev` serves the page instead, prints its address, and ends when its input does.

import { copyFile } from 'node:fs/promises'
import process from 'node:process'

const WORKER = 'resumable-glance.worker.js'
const INSTALLED = `node_modules/resumable-glance/dist/${WORKER}`

const BUNDLERS = {
  vite: async () => {
    const { build } = await import('vite')
    await build({ configFile: false, base: './', build: { outDir: 'www' } })
  },
  'vite-dev': async () => {
    const { createServer } = await import('vite')
    const server = await createServer({
      configFile: false,
      server: { host: '127.0.0.1', port: 0 },
      logLevel: 'silent',
    })
    await server.listen()
    console.log(`http://127.0.0.1:${server.httpServer.address().port}`)
    process.stdin.resume().on('end', () => process.exit())
  },
  webpack: async () => {
    const { default: webpack } = await import('webpack')
    const options = {
      mode: 'production',
      context: process.cwd(),
      entry: './app.js',
      output: { path: `${process.cwd()}/www`, filename: 'app.js' },
    }
    const stats = await new Promise((resolve, reject) =>
      webpack(options, (error, made) => (error ? reject(error) : resolve(made))),
    )
    if (stats.hasErrors() || stats.hasWarnings()) throw new Error(stats.toString())
    await copyFile('index.html', 'www/index.html')
  },
  rollup: async () => {
    const { rollup } = await import('rollup')
    const { nodeResolve } = await import('@rollup/plugin-node-resolve')
    const { importMetaAssets } = await import('@web/rollup-plugin-import-meta-assets')
    const bundle = await rollup({
      input: 'app.js',
      plugins: [nodeResolve(), importMetaAssets()],
    })
    await bundle.write({ dir: 'www' })
    await copyFile('index.html', 'www/index.html')
  },
  // Leaves the worker's address as it is, so that the file has to be copied.
  esbuild: async () => {
    const { build } = await import('esbuild')
    await build({
      entryPoints: ['app.js'],
      bundle: true,
      format: 'esm',
      outdir: 'www',
    })
    await copyFile(INSTALLED, `www/${WORKER}`)
    await copyFile('index.html', 'www/index.html')
  },
}

await BUNDLERS[process.argv[2]]()
