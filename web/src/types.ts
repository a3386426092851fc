/* What galen's own API says, as the page reads it. Every field may be missing (an older galen, a room
 * switched off): the page shows a dash, never an error. Units are in the names. */

export type ReplicaState = 'healthy' | 'suspect' | 'stalled' | 'dead' | 'frozen' | 'saturated' | 'unknown'

export interface Replica {
  id: string
  name?: string
  job?: string
  instance?: string
  url?: string
  engine?: string
  version?: string
  model?: string
  discovered?: boolean
  state?: ReplicaState
  process?: { state?: string; pid?: number; start_ms?: number; restarts?: number; last_exit_code?: number; last_signal?: number }
  up?: number
  scrape_error?: string
  health?: number
  completion?: number
  probe_error?: string
  ttft_s?: number | null
  progress?: string
  running?: number | null
  waiting?: number | null
  tokens_per_s?: number | null
  kv_cache_ratio?: number | null
}

export interface Alert {
  name: string
  state: 'pending' | 'firing'
  labels?: Record<string, string>
  annotations?: Record<string, string>
  active_at_ms?: number
  value?: number | null
}

export interface Evidence {
  symptom: string
  expr?: string
  value?: number | null
  holds?: boolean
  text?: string
  text_zh?: string
}

export interface Incident {
  id: string
  subject: string
  cause?: string
  confidence?: string
  summary?: string
  summary_zh?: string
  act?: boolean
  opened_ms?: number
  closed_ms?: number
  evidence?: Evidence[]
  timeline?: AuditRecord[]
}

export interface Episode {
  policy?: string
  subject?: string
  incident?: string
  cause?: string
  action?: string
  state?: string
  mode?: string
  attempt?: number
  since_ms?: number
  reason?: string
}

export interface Policy {
  name: string
  mode?: string
  explain?: string
  explain_zh?: string
  trigger?: unknown
}

export interface AuditRecord {
  seq: number
  t_ms: number
  kind: string
  actor?: string
  subject?: string
  incident?: string
  message?: string
  data?: unknown
}

export interface Host {
  name?: string
  cores?: number | null
  exprs?: Record<string, string>
  [vital: string]: unknown
}

export interface Overview {
  version?: string
  now_ms?: number
  uptime_s?: number
  host?: Host
  replicas?: Replica[]
  alerts?: Alert[]
  incidents?: Incident[]
  heal?: Episode[]
  heal_mode?: string
  own?: { rss_bytes?: number | null; cpu_ratio?: number | null; series?: number | null; samples_per_s?: number | null }
}

export interface PromSeries { metric: Record<string, string>; values?: [number, string][]; value?: [number, string] }
export interface PromResult { resultType: 'matrix' | 'vector' | 'scalar' | 'string'; result: PromSeries[] | [number, string] }

/* ---- /api/galen/v1/store ---- */
export interface TopRow { name: string; value: number }
export interface StoreBlock {
  number: number; min_t_ms: number | null; max_t_ms: number | null
  series: number; samples: number; bytes: number; deleted: number; damaged: boolean
}
export interface StoreReport {
  head: { series: number; samples: number; chunks: number }
  log: { segments: number; bytes: number; errors_total: number }
  disk: { blocks: number; bytes: number; samples: number; bytes_per_sample: number | null }
  min_t_ms: number | null; max_t_ms: number | null
  limits: Partial<Record<'retention_ms' | 'retention_bytes' | 'out_of_order_ms' | 'max_series' | 'max_series_per_metric' |
    'max_series_per_target' | 'memory_bytes' | 'tier_5m_ms' | 'tier_1h_ms', number | null>>
  refused_total: number
  top: Partial<Record<'metric' | 'target' | 'label_values' | 'label_bytes' | 'pair', TopRow[]>>
  blocks: StoreBlock[]
}
