/* Numbers as people read them. Everything missing (null, undefined, NaN) is a dash. */
import { lang } from './i18n'

const DASH = '–'
type Maybe = number | null | undefined
const missing = (v: Maybe): v is null | undefined => v === null || v === undefined || !Number.isFinite(v)

/* 0.4213 -> "42 %"; below ten percent with one decimal. */
export function percent(ratio: Maybe): string {
  if (missing(ratio)) return DASH
  const p = ratio * 100
  return `${p !== 0 && Math.abs(p) < 9.95 ? p.toFixed(1) : p.toFixed(0)} %`
}

export function bytes(n: Maybe): string {
  if (missing(n)) return DASH
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let i = 0
  let v = n
  while (Math.abs(v) >= 1000 && i < units.length - 1) { v /= 1024; i++ }
  return `${i === 0 || Math.abs(v) >= 99.5 ? v.toFixed(0) : Math.abs(v) >= 9.95 ? v.toFixed(1) : v.toFixed(2)} ${units[i]}`
}

export const per_second = (n: Maybe): string => (missing(n) ? DASH : `${bytes(n)}/s`)

/* Plain numbers: at most three figures after rounding, thousands as k, M, G. */
export function number(v: Maybe): string {
  if (missing(v)) return DASH
  const a = Math.abs(v)
  if (a >= 1e9) return `${trim(v / 1e9)} G`
  if (a >= 1e6) return `${trim(v / 1e6)} M`
  if (a >= 1e4) return `${trim(v / 1e3)} k`
  if (a !== 0 && a < 0.001) return v.toExponential(1)
  return a >= 100 ? String(Math.round(v)) : trim(v)
}
const trim = (v: number) => String(Number(v.toPrecision(3)))

/* Seconds as a duration a person would say: "230 ms", "1.4 s", "3 min 20 s", "2 h 5 min", "3 d 4 h". */
const units = { en: { ms: 'ms', s: 's', min: 'min', h: 'h', d: 'd' }, zh: { ms: '毫秒', s: '秒', min: '分', h: '小时', d: '天' } }
export function duration(s: Maybe): string {
  const u = units[lang.value]
  if (missing(s)) return DASH
  if (s < 0) return `-${duration(-s)}`
  if (s === 0) return `0 ${u.s}`
  if (s < 0.9995) return `${s < 0.01 ? (s * 1000).toFixed(1) : Math.round(s * 1000)} ${u.ms}`
  if (s < 59.95) return `${s < 9.95 ? Number(s.toFixed(1)) : Math.round(s)} ${u.s}`
  const whole = Math.round(s)
  const steps: [string, number][] = [[u.d, 86400], [u.h, 3600], [u.min, 60], [u.s, 1]]
  const at = steps.findIndex(([, n]) => whole >= n)
  const [unit, size] = steps[at]
  const rest = steps[at + 1] ? Math.floor((whole % size) / steps[at + 1][1]) : 0
  return `${Math.floor(whole / size)} ${unit}${rest ? ` ${rest} ${steps[at + 1][0]}` : ''}`
}

const two = (n: number) => String(n).padStart(2, '0')

export function clock(ms: Maybe): string {
  if (missing(ms) || ms <= 0) return DASH
  const d = new Date(ms)
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`
}

/* Today only the time, else the date before it. */
export function moment(ms: Maybe, now_ms = Date.now()): string {
  if (missing(ms) || ms <= 0) return DASH
  const d = new Date(ms)
  const today = d.toDateString() === new Date(now_ms).toDateString()
  return today ? clock(ms) : `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(ms)}`
}

/* A sample's value as Prometheus writes it, shortened for the table but not rounded beyond recognition. */
export function sample(text: string): string {
  const v = Number(text)
  return Number.isFinite(v) && text.length > 12 ? String(Number(v.toPrecision(8))) : text
}

/* "5m", "1h30m", "250ms" in seconds; NaN if it is no duration. */
export function parse_duration(text: string): number {
  const unit: Record<string, number> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400, w: 604800, y: 31536000 }
  const parts = [...text.matchAll(/(\d+)(ms|[smhdwy])/g)]
  return parts.map((p) => p[0]).join('') === text && text ? parts.reduce((sum, p) => sum + Number(p[1]) * unit[p[2]], 0) : NaN
}

/* {__name__: "up", job: "x"} -> up{job="x"} */
export function series_name(metric: Record<string, string>): string {
  const { __name__: name = '', ...rest } = metric
  const inside = Object.entries(rest).map(([k, v]) => `${k}=${JSON.stringify(v)}`).join(', ')
  return inside ? `${name}{${inside}}` : name || '{}'
}

/* "replica:chat/127.0.0.1:8000" -> ["replica", "chat/127.0.0.1:8000"] */
export function subject_parts(subject: string): [string, string] {
  const colon = subject.indexOf(':')
  return colon < 0 ? ['', subject] : [subject.slice(0, colon), subject.slice(colon + 1)]
}
