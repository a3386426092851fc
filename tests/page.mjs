/* page.mjs URL [--screenshots DIR] - drives the page of a running galen (or of web/dev/mock.mjs) in Debian's Chromium.
 *
 * Proves what a person would see: vitals within five seconds, every tab, both languages, a query that draws, errors
 * that say what to do, a phone's width, enough contrast in both schemes, and that nothing is asked of anyone but galen.
 * Needs `npm ci` in web/ (playwright-core) and Debian's package chromium. Ends with "N passed, N failed". */
import { mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const { chromium } = createRequire(new URL('../web/package.json', import.meta.url))('playwright-core')
const url = process.argv[2]?.replace(/\/$/, '')
const at = process.argv.indexOf('--screenshots')
const shots = at < 0 ? '' : process.argv[at + 1]
if (!url?.startsWith('http')) {
  console.error('usage: node tests/page.mjs URL [--screenshots DIR]')
  process.exit(2)
}
const TABS = ['overview', 'watch', 'store', 'query', 'alert', 'diagnose', 'heal', 'audit']
const DESKTOP = { width: 1280, height: 800 }, PHONE = { width: 390, height: 844 }

let passed = 0, failed = 0
async function check(sentence, run) {
  const begun = performance.now()
  try {
    await run()
    passed++
    console.log(`ok    ${sentence} (${((performance.now() - begun) / 1000).toFixed(1)} s)`)
  } catch (e) {
    failed++
    console.log(`FAIL  ${sentence}\n      ${String(e.message ?? e).split('\n').slice(0, 6).join('\n      ')}`)
  }
}
const want = (condition, text) => { if (!condition) throw new Error(text) }

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
})
const foreign = [], complaints = []
let silence_expected = false

async function open(options) {
  const context = await browser.newContext({ viewport: DESKTOP, locale: 'en-US', colorScheme: 'light', ...options })
  const page = await context.newPage()
  page.on('request', (r) => { if (new URL(r.url()).origin !== new URL(url).origin) foreign.push(r.url()) })
  page.on('pageerror', (e) => complaints.push(String(e)))
  page.on('console', (m) => {
    /* Chromium reports every 4xx answer as an error; those that are asked for on purpose are not the page's fault. */
    if (m.type() === 'error' && !silence_expected && !/Failed to load resource.*40[04]/.test(m.text())) complaints.push(m.text())
  })
  return page
}
const go = async (page, hash) => { await page.goto(`${url}/#/${hash}`); await page.waitForSelector('main > *') }
const type_query = async (page, text) => {
  const box = page.locator('.cm-content')
  await box.waitFor()
  await box.click()
  await page.keyboard.press('Control+A')
  await page.keyboard.type(text)
  await page.keyboard.press('Escape')
  await page.keyboard.press('Enter')
}

const page = await open()
await check('the page loads and names itself', async () => {
  await page.goto(url)
  await page.waitForSelector('#host', { timeout: 5000 })
  want(/galen/.test(await page.title()), `the title is "${await page.title()}"`)
})
await check('vitals are there within 5 seconds', () =>
  page.waitForFunction(() => /\d/.test(document.querySelector('[data-vital=cpu_ratio]')?.textContent ?? ''), null, { timeout: 5000 }))
await check('and move', async () => {
  const curve = () => page.locator('.tile .stroke').first().getAttribute('d')
  await page.waitForSelector('.tile .stroke', { timeout: 5000, state: 'attached' })
  const before = await curve()
  await page.waitForTimeout(2500)
  want(before !== (await curve()), 'the CPU curve stood still for 2.5 s')
})
for (const tab of TABS)
  await check(`the tab ${tab} opens without an error`, async () => {
    await page.click(`nav a[href="#/${tab}"]`)
    await page.waitForSelector(`nav a[href="#/${tab}"][aria-current=page]`)
    await page.waitForTimeout(600)
    const trouble = await page.locator('.trouble').allTextContents()
    want(trouble.length === 0, trouble.join('; '))
  })
await check('Chinese can be switched on, is remembered, and off again', async () => {
  await page.click('button.lang')
  await page.waitForSelector('nav a:text("总览")')
  await page.reload()
  await page.waitForSelector('nav a:text("总览")')
  want((await page.getAttribute('html', 'lang')) === 'zh-CN', 'html lang is not zh-CN')
  await page.click('button.lang')
  await page.waitForSelector('nav a:text("Overview")')
})
await check('a Chinese browser gets Chinese at once', async () => {
  const zh = await open({ locale: 'zh-CN' })
  await go(zh, 'overview')
  await zh.waitForSelector('nav a:text("总览")')
  await zh.context().close()
})
await check('a query draws a graph and lists its values', async () => {
  await go(page, 'query')
  await type_query(page, 'node_load1')
  await page.waitForSelector('.chart canvas')
  await page.waitForSelector('table.values tbody tr')
  want(/expr=node_load1/.test(page.url()), 'the address does not carry the question')
})
await check('the PromQL box completes metric names', async () => {
  await go(page, 'query')
  await page.locator('.cm-content').click()
  await page.keyboard.press('Control+A')
  await page.keyboard.type('node_lo')
  await page.waitForSelector('.cm-tooltip-autocomplete li:has-text("node_load1")', { timeout: 5000 })
  await page.keyboard.press('Escape')
})
await check('a wrong query says what is wrong', async () => {
  await page.goto(`${url}/#/query?expr=${encodeURIComponent('sum(')}`)
  await page.waitForSelector('.trouble')
})
await check('an unknown incident is said to be unknown', async () => {
  await go(page, 'diagnose/inc-19700101-000000-1')
  await page.waitForSelector('.empty:has-text("no incident")')
})
await check('the keyboard reaches the content first', async () => {
  await page.goto('about:blank')
  await go(page, 'overview')
  await page.keyboard.press('Tab')
  want(await page.evaluate(() => document.activeElement?.classList.contains('skip')), 'the first stop is not the skip link')
  await page.keyboard.press('Enter')
  want((await page.evaluate(() => document.activeElement?.id)) === 'content', 'the skip link does not lead to the content')
})

/* ---- looks ---- */
/* WCAG 2.2, 1.4.3: every visible text against the ground that is painted behind it. */
const low_contrast = () => {
  const rgb = (c) => { const m = c.match(/[\d.]+/g)?.map(Number) ?? [0, 0, 0, 0]; return { c: m.slice(0, 3), a: m[3] ?? 1 } }
  const light = (c) => c.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0)
  const ground = (el) => { for (; el; el = el.parentElement) { const b = rgb(getComputedStyle(el).backgroundColor); if (b.a > 0.99) return b.c } return [255, 255, 255] }
  const bad = []
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  for (let n; (n = walk.nextNode());) {
    const el = n.parentElement
    if (!n.textContent.trim() || !el.checkVisibility() || el.closest('.skip, noscript, script, [aria-hidden=true]')) continue
    const a = light(rgb(getComputedStyle(el).color).c), b = light(ground(el))
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
    if (ratio < 4.5) bad.push(`${ratio.toFixed(2)} "${n.textContent.trim().slice(0, 40)}" (${el.className || el.tagName})`)
  }
  return bad
}
if (shots) mkdirSync(shots, { recursive: true })
async function picture(p, name) {
  if (shots) await p.screenshot({ path: join(shots, `${name}.png`), fullPage: true })
}
for (const scheme of ['light', 'dark'])
  for (const [form, viewport, locale] of [['desktop', DESKTOP, 'en-US'], ['phone', PHONE, 'zh-CN']])
    await check(`${scheme} on a ${form}: nothing is too pale, too wide or untranslated`, async () => {
      const p = await open({ viewport, locale, colorScheme: scheme })
      for (const tab of [...TABS, 'incident']) {
        await go(p, tab === 'incident' ? 'diagnose' : tab === 'query' ? 'query?expr=node_load1' : tab)
        await p.waitForTimeout(700)
        const first = p.locator('.row-link').first()
        if (tab === 'incident' && (await first.count())) { await first.click(); await p.waitForSelector('.story') }
        await picture(p, `${tab}-${form}-${scheme}-${locale.slice(0, 2)}`)
        const pale = await p.evaluate(low_contrast)
        want(pale.length === 0, `${tab}: contrast below 4.5: ${pale.slice(0, 5).join('; ')}`)
        const wide = await p.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
        want(wide <= 0, `${tab}: ${wide} px wider than the screen`)
      }
      await p.context().close()
    })

await check('when galen falls silent a banner says so, and goes when it is back', async () => {
  silence_expected = true
  await go(page, 'overview')
  await page.waitForSelector('#host')
  await page.context().setOffline(true)
  await page.waitForSelector('.banner', { timeout: 5000 })
  want((await page.locator('[data-vital=cpu_ratio]').count()) === 1, 'the last numbers are gone')
  await picture(page, 'silent')
  await page.context().setOffline(false)
  await page.waitForSelector('.banner', { state: 'detached', timeout: 5000 })
  silence_expected = false
})
await check('no request left for anywhere but galen', () => want(foreign.length === 0, foreign.slice(0, 5).join(', ')))
await check('the browser had nothing to complain about', () => want(complaints.length === 0, complaints.slice(0, 5).join('\n')))

await browser.close()
console.log(`\n${passed} passed, ${failed} failed`)
process.exit(failed ? 1 : 0)
