/* What galen may do, in plain words, and what it did. */
import { usePolled } from '../api'
import { duration } from '../format'
import { pick, t, word, type Text } from '../i18n'
import { Empty, Loading, Section, State, Subject, Trouble } from '../parts'
import { reason } from '../reasons'
import { route_to } from '../route'
import { overview, type Tone } from '../state'
import type { Episode, Policy } from '../types'

const mode_tone = (mode: string | undefined): Tone => (mode === 'auto' ? 'ok' : mode === 'off' ? 'idle' : 'warn')
const known_modes = ['off', 'suggest', 'approve', 'auto']

function PolicyCard({ p }: { p: Policy }) {
  return (
    <article class="card policy">
      <header><h3>{p.name}</h3><State group="mode" name={p.mode} tone={mode_tone(p.mode)} /></header>
      <p>{pick(p.explain, p.explain_zh) || <code class="expr">{JSON.stringify(p.trigger)}</code>}</p>
    </article>
  )
}

function EpisodeRow({ e }: { e: Episode }) {
  const now = overview.value?.now_ms ?? Date.now()
  return (
    <tr>
      <td><State name={e.state} /></td>
      <td><b>{reason(e.action) || '–'}</b><div class="muted">{e.policy} · {word('mode', e.mode)}</div></td>
      <td><Subject id={e.subject} /><div>{e.incident ? <a href={route_to('diagnose', e.incident)}>{word('cause', e.cause)}</a> : word('cause', e.cause)}</div></td>
      <td>{e.attempt ?? '–'}</td>
      <td>{reason(e.reason)}</td>
      <td class="nowrap muted">{e.since_ms ? t('ago', { x: duration((now - e.since_ms) / 1000) }) : '–'}</td>
    </tr>
  )
}

export function HealView() {
  const { data, error } = usePolled<{ mode?: string; paused?: boolean; policies?: Policy[]; episodes?: Episode[] }>('/api/galen/v1/heal', 2000)
  if (error && !data) return <Trouble error={error} />
  if (!data) return <Loading />
  const mode = data.mode ?? 'suggest'
  const policies = data.policies ?? []
  const episodes = data.episodes ?? []
  const head = [t('state'), t('heal.action'), t('subject'), t('heal.attempt'), t('heal.why'), t('time')]
  return (
    <>
      <div class={`band ${mode_tone(mode)}`}><div><strong>{t('heal.mode')}: {word('mode', mode)}</strong>
        {data.paused && <p><State name="waiting" /> {t('heal.paused')}</p>}
        <p>{known_modes.includes(mode) ? t(`mode.${mode}_text` as Text) : ''}</p></div></div>
      <Section title={t('heal.episodes')} note={episodes.length || undefined}>
        {episodes.length ? <div class="table-box"><table><thead><tr>{head.map((h) => <th key={h} scope="col">{h}</th>)}</tr></thead>
          <tbody>{episodes.map((e, n) => <EpisodeRow key={n} e={e} />)}</tbody></table></div> : <Empty>{t('heal.no_episodes')}</Empty>}
      </Section>
      <Section title={t('heal.policies')} note={policies.length || undefined}>
        {policies.length ? <div class="policies">{policies.map((p) => <PolicyCard key={p.name} p={p} />)}</div> : <Empty>{t('heal.no_policies')}</Empty>}
      </Section>
    </>
  )
}
