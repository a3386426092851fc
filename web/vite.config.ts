/* Builds the page into ../build/web (or --outDir): hashed assets, and beside each text file its brotli form,
 * made by Node's own zlib. src/face/embed.py packs the folder into the binary. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { brotliCompressSync, constants } from 'node:zlib'
import { defineConfig, type Plugin } from 'vite'

function brotli_beside(): Plugin {
  let out = ''
  return {
    name: 'brotli-beside',
    apply: 'build',
    configResolved(c) { out = resolve(c.root, c.build.outDir) },
    closeBundle() {
      for (const name of readdirSync(out, { recursive: true }) as string[]) {
        if (!/\.(html|js|css|svg)$/.test(name)) continue
        const text = readFileSync(join(out, name))
        const packed = brotliCompressSync(text, {
          params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: text.length },
        })
        writeFileSync(join(out, name + '.br'), packed)
      }
    },
  }
}

const galen = process.env.GALEN_URL ?? 'http://127.0.0.1:9700' /* dev/mock.mjs; or a running galen */

export default defineConfig({
  root: import.meta.dirname,
  plugins: [brotli_beside()],
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir: '../build/web',
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: 0,              /* the Content-Security-Policy has no room for data: scripts or styles */
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,        /* the PromQL editor, its own lazy chunk */
  },
  server: { proxy: Object.fromEntries(['/api', '/-', '/health', '/metrics'].map((p) => [p, galen])) },
})
