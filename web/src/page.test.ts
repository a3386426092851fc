import { describe, expect, it } from 'vitest'
import episode_c from '../../src/heal/episode.c?raw'
import schedule_c from '../../src/heal/schedule.c?raw'
import { all_texts, lang, preferred } from './i18n'
import { all_reasons, reason } from './reasons'
import { parse_route, route_to } from './route'
import { incident_tone, judge, push_point, worst_first, HISTORY_S } from './state'
import { spark_path } from './parts'
import { align } from './chart_data'
import { matches } from './search'

describe('the address', () => {
  it.each(['', '#/', '#/nowhere', '#overview'])('"%s" is the overview', (hash) => expect(parse_route(hash).tab).toBe('overview'))
  it('carries any expression there and back', () => {
    const expr = 'rate(x{a="b&c", d=~".+"}[5m]) > 1 # ?/'
    expect(parse_route(route_to('query', '', { expr, range: '1h' }))).toEqual({ tab: 'query', id: '', params: { expr, range: '1h' } })
  })
  it('carries any id there and back', () => expect(parse_route(route_to('diagnose', 'inc 1/ü?')).id).toBe('inc 1/ü?'))
  it('survives a broken escape', () => expect(parse_route('#/diagnose/%zz').id).toBe('%zz'))
})

describe('two languages', () => {
  it('every text has both, with the same blanks', () => {
    const blanks = (s: string) => [...s.matchAll(/\{\w+\}/g)].map((m) => m[0]).sort()
    for (const [key, [en, zh]] of Object.entries(all_texts)) {
      expect(en && zh, key).toBeTruthy()
      expect(blanks(zh), key).toEqual(blanks(en))
    }
  })
  it.each([
    [null, ['zh-CN', 'en'], 'zh'], [null, ['de', 'zh-TW'], 'zh'], [null, ['en-US', 'zh'], 'en'], [null, [], 'en'], ['zh', ['en'], 'zh'], ['xx', ['zh'], 'zh'],
  ])('stored %s, browser %s: %s', (stored, browser, want) => expect(preferred(stored, browser)).toBe(want))
})

describe('reasons', () => {
  it('are said in Chinese where they are known, and as they came where not', () => {
    lang.value = 'zh'
    expect(reason('the action failed')).toBe('动作失败')
    expect(reason('something new')).toBe('something new')
    lang.value = 'en'
    expect(reason('the action failed')).toBe('the action failed')
  })
  it('are the very sentences heal uses', () => {
    const source = episode_c + schedule_c
    const gone = Object.keys(all_reasons).filter((k) => k.includes(' ') && !source.includes(JSON.stringify(k)))
    expect(gone).toEqual([])
  })
})

describe('the verdict', () => {
  const healthy = { id: 'a', state: 'healthy' as const }
  const rows: [string, Parameters<typeof judge>[0], string][] = [
    ['nothing watched is neither good nor bad', {}, 'idle'],
    ['healthy replicas are well', { replicas: [healthy] }, 'ok'],
    ['a firing alert is worth a look', { replicas: [healthy], alerts: [{ name: 'x', state: 'firing' }] }, 'warn'],
    ['a pending alert is not yet', { replicas: [healthy], alerts: [{ name: 'x', state: 'pending' }] }, 'ok'],
    ['a dead replica is bad', { replicas: [{ id: 'b', state: 'dead' }] }, 'bad'],
    ['saturation is worth a look', { replicas: [healthy], incidents: [{ id: 'i', subject: 'r', cause: 'saturated' }] }, 'warn'],
    ['a stalled incident is bad', { replicas: [healthy], incidents: [{ id: 'i', subject: 'r', cause: 'decode_stalled' }] }, 'bad'],
    ['a closed incident is over', { replicas: [healthy], incidents: [{ id: 'i', subject: 'r', cause: 'engine_dead', closed_ms: 5 }] }, 'ok'],
  ]
  it.each(rows)('%s', (_what, o, want) => expect(judge(o).tone).toBe(want))
  it('the worst comes first, equals keep their order', () => {
    const order = worst_first([{ id: 'a', state: 'healthy' }, { id: 'b', state: 'saturated' }, { id: 'c', state: 'unknown' }, { id: 'd', state: 'dead' }])
    expect(order.map((r) => r.id).join('')).toBe('dbac')
  })
  it('a closed incident has no alarm colour', () => expect(incident_tone({ id: 'i', subject: '', cause: 'engine_dead', closed_ms: 1 })).toBe('idle'))
})

describe('curves', () => {
  it('forgets old points, refuses missing and late ones', () => {
    let p = push_point([], 1000, 1)
    p = push_point(p, 1001, null)
    p = push_point(p, 1000, 5)
    expect(p).toEqual([{ t_s: 1000, v: 1 }])
    expect(push_point(p, 1000 + HISTORY_S, 2)).toEqual([{ t_s: 1000 + HISTORY_S, v: 2 }])
  })
  it('draws a gap as a gap', () => {
    const d = spark_path([{ t_s: 0, v: 0 }, { t_s: 1, v: 1 }, { t_s: 60, v: 1 }], 0, 100, 1)
    expect(d.match(/M/g)).toHaveLength(2)
  })
  it('puts samples on the grid and leaves holes empty', () => {
    const [t, a] = align([{ metric: {}, values: [[10, '1'], [20, 'NaN'], [30, '3'], [99, '9']] }], 10, 30, 10)
    expect(t).toEqual([10, 20, 30])
    expect(a).toEqual([1, null, 3])
  })
})

describe('searching the record', () => {
  const r = { seq: 1, t_ms: 0, kind: 'heal.action.done', actor: 'policy:x', message: 'Process 12 runs' }
  it.each([['', true], ['process HEAL', true], ['heal stalled', false]])('"%s": %s', (words, want) => expect(matches(r, words)).toBe(want))
})
