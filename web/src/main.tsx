/* The page's frame: masthead, tabs, the banner when galen is silent, and the tab that the address names. */
import { render } from 'preact'
import { useEffect } from 'preact/hooks'
import { last_answer_ms, silent_since_ms } from './api'
import { clock } from './format'
import { lang, switch_lang, t, type Text } from './i18n'
import { Mark } from './parts'
import { route, route_to, TABS, type Tab } from './route'
import { overview, start_overview, verdict } from './state'
import { AlertView } from './views/alert'
import { AuditView } from './views/audit'
import { DiagnoseView } from './views/diagnose'
import { HealView } from './views/heal'
import { OverviewView } from './views/overview'
import { QueryView } from './views/query'
import { StoreView } from './views/store'
import { WatchView } from './views/watch'
import './style.css'

const views: Record<Tab, () => preact.JSX.Element | null> = {
  overview: OverviewView, watch: WatchView, store: StoreView, query: QueryView, alert: AlertView,
  diagnose: DiagnoseView, heal: HealView, audit: AuditView,
}

/* How many things wait behind a tab. */
function count_of(tab: Tab): number {
  const v = verdict.value
  return !v ? 0 : tab === 'alert' ? v.firing : tab === 'diagnose' ? v.open.length : 0
}

function Masthead() {
  const v = verdict.value
  return (
    <header class="masthead">
      <a class="skip" href="#content" onClick={(e) => { e.preventDefault(); document.getElementById('content')?.focus() }}>{t('nav.skip')}</a>
      <a class="brand" href={route_to('overview')}>
        <svg viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="8" /><path d="M4 17h6l3-8 5 15 4-10 1.600 3H28" /></svg>
        <b>galen</b>
        <span class="muted host-name">{String(overview.value?.host?.name ?? '')}</span>
      </a>
      <nav aria-label={t('nav.main')}>
        {TABS.map((tab) => (
          <a key={tab} href={route_to(tab)} aria-current={route.value.tab === tab ? 'page' : undefined}>
            {t(`tab.${tab}` as Text)}
            {count_of(tab) > 0 && <span class={`count ${tab === 'alert' ? 'bad' : v?.tone ?? 'bad'}`}>{count_of(tab)}</span>}
          </a>
        ))}
      </nav>
      <button class="lang" onClick={switch_lang} aria-label={t('lang.label')} lang={lang.value === 'en' ? 'zh-CN' : 'en'}>{t('lang.switch')}</button>
    </header>
  )
}

function Banner() {
  if (!silent_since_ms.value) return null
  const text = last_answer_ms.value ? t('unreachable', { x: clock(last_answer_ms.value) }) : t('unreachable_never')
  return <div class="banner" role="alert"><Mark tone="bad" /> {text}</div>
}

/* The window's title tells the state too, for the tab among forty others. */
function Title() {
  const v = verdict.value
  const sign = silent_since_ms.value || v?.tone === 'bad' ? '■ ' : v?.tone === 'warn' ? '▲ ' : ''
  document.title = `${sign}galen${overview.value?.host?.name ? ' · ' + String(overview.value.host.name) : ''}`
  return null
}

function Page() {
  useEffect(start_overview, [])
  const { tab } = route.value
  useEffect(() => { window.scrollTo(0, 0) }, [tab, route.value.id])
  const View = views[tab]
  return (
    <>
      <Title />
      <div class="top"><Masthead /><Banner /></div>
      <main id="content" tabIndex={-1} class={silent_since_ms.value ? 'old' : ''}><View /></main>
    </>
  )
}

render(<Page />, document.getElementById('page')!)
