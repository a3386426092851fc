/* A stand-in for galen while the page is being drawn: the same addresses, made-up numbers.
 *
 *   node dev/mock.mjs [--port 9700] [--scene trouble|calm|empty|error] [--dir ../build/web]
 *
 * `vite` proxies to it; with --dir it also serves a built page, under galen's own Content-Security-Policy.
 * Nothing here is shipped. The shapes are those of src/face/openapi.json. */
import { createServer } from 'node:http'
import { existsSync, readFileSync } from 'node:fs'
import { extname, join, normalize } from 'node:path'

const option = (name, otherwise) => { const i = process.argv.indexOf(`--${name}`); return i < 0 ? otherwise : process.argv[i + 1] }
const port = Number(option('port', 9700))
const scene = option('scene', 'trouble')
const dir = option('dir', '')
const begun = Date.now()
const MIN = 60_000

/* The same smooth noise for the same name and second, so curves do not jump between asks. */
const hash = (text) => [...text].reduce((h, c) => Math.imul(h ^ c.charCodeAt(0), 16777619) >>> 0, 2166136261)
const noise = (name, t_s) => {
  const s = hash(name) % 1000
  return 0.5 + 0.22 * Math.sin(t_s / 17 + s) + 0.16 * Math.sin(t_s / 5.3 + s * 3) + 0.1 * Math.sin(t_s / 1.9 + s * 7)
}

const vitals = {
  cpu_ratio: ['1 - avg(rate(node_cpu_seconds_total{mode="idle",job="node"}[5s]))', (n) => n * 0.6],
  memory_used_bytes: ['node_memory_MemTotal_bytes{job="node"} - node_memory_MemAvailable_bytes{job="node"}', (n) => (9 + n) * 2 ** 30],
  load1: ['node_load1{job="node"}', (n) => n * 3],
  disk_read_bytes_per_s: ['sum(rate(node_disk_read_bytes_total{job="node"}[5s]))', (n) => n * n * 3e6],
  disk_write_bytes_per_s: ['sum(rate(node_disk_written_bytes_total{job="node"}[5s]))', (n) => n * n * 9e6],
  net_receive_bytes_per_s: ['sum(rate(node_network_receive_bytes_total{job="node"}[5s]))', (n) => n * 4e5],
  net_transmit_bytes_per_s: ['sum(rate(node_network_transmit_bytes_total{job="node"}[5s]))', (n) => n * 2e5],
  pressure_cpu_ratio: ['rate(node_pressure_cpu_waiting_seconds_total{job="node"}[5s])', (n) => n * 0.2],
  pressure_memory_ratio: ['rate(node_pressure_memory_waiting_seconds_total{job="node"}[5s])', () => 0],
  pressure_io_ratio: ['rate(node_pressure_io_waiting_seconds_total{job="node"}[5s])', (n) => n * 0.04],
}
const tokens_expr = 'sum by (job, instance) (rate(llm_generation_tokens_total[1m]))'
const vital = (key, t_s) => vitals[key][1](noise(key, t_s))

function host(t_s) {
  const h = { name: 'gpu-07', cores: 8, memory_total_bytes: 24 * 2 ** 30, swap_used_bytes: 0, load5: 1.31, load15: 1.12, disk_used_ratio: 0.62, exprs: { replica_tokens_per_s: tokens_expr } }
  for (const key of Object.keys(vitals)) { h[key] = vital(key, t_s); h.exprs[key] = vitals[key][0] }
  return h
}

const replica = (name, at, more) => ({
  id: `replica:${more.job ?? 'chat'}/${at}`, name, job: 'chat', instance: at, url: `http://${at}`, engine: 'llama.cpp', version: 'b7010', model: 'tiny-llama-chat-q8', discovered: false,
  state: 'healthy', process: { state: 'running', pid: 4121, start_ms: begun - 50 * MIN, restarts: 0, last_exit_code: -1, last_signal: -1 },
  up: 1, scrape_error: '', health: 1, completion: 1, probe_error: '', ttft_s: 0.182, progress: 'progressing', running: 4, waiting: 0, tokens_per_s: 118, kv_cache_ratio: 0.41, ...more,
})

function replicas(t_s) {
  if (scene === 'empty') return []
  const all = [
    replica('chat-a', '127.0.0.1:8000', { tokens_per_s: 120 + 60 * noise('a', t_s) }),
    replica('chat-b', '127.0.0.1:8001', { engine: 'vllm', version: '0.11.2', model: 'Qwen/Qwen2.5-7B-Instruct', running: 12, kv_cache_ratio: 0.73, ttft_s: 0.094, tokens_per_s: 640 + 90 * noise('b', t_s) }),
    replica('127.0.0.1:8081', '127.0.0.1:8081', { job: 'discovered', discovered: true, process: { state: 'none', pid: -1, restarts: 0 }, completion: -1, ttft_s: null, running: 0, tokens_per_s: 0, progress: 'idle', kv_cache_ratio: 0 }),
  ]
  if (scene === 'trouble') {
    Object.assign(all[0], { state: 'stalled', completion: 0, probe_error: 'no first token within 10 s', progress: 'stalled', running: 6, waiting: 9, tokens_per_s: 0, ttft_s: null })
    all[0].process.restarts = 1
    Object.assign(all[1], { state: 'saturated', running: 32, waiting: 57, kv_cache_ratio: 0.98, ttft_s: 3.9, progress: 'saturated' })
  }
  return all
}

const subject = 'replica:chat/127.0.0.1:8000'
const stalled = {
  id: 'inc-20261121-213455-3', subject, cause: 'decode_stalled', confidence: 'confirmed', act: true, opened_ms: begun - 42_000, closed_ms: 0, episode: 1,
  summary: 'chat-a accepts requests and /health answers 200, but no token has moved for 34 s while 6 requests run.',
  summary_zh: 'chat-a 仍接受请求、/health 返回 200，但在 6 个请求运行期间已有 34 秒没有产出 token。',
  evidence: [
    { symptom: 'progress_stopped', expr: 'watch_progress_age_seconds{job="chat",instance="127.0.0.1:8000"} > 30', value: 34.2, holds: true, text: 'No token has moved for 34 s while requests are running.', text_zh: '有请求在运行，但 34 秒内没有产出任何 token。' },
    { symptom: 'completion_probe_fails', expr: 'probe_success{job="chat",instance="127.0.0.1:8000",probe="completion"} == 0', value: 0, holds: true, text: 'A real completion got no first token within 10 s.', text_zh: '一次真实补全在 10 秒内没有拿到首个 token。' },
    { symptom: 'requests_running', expr: 'llm_requests_running{job="chat",instance="127.0.0.1:8000"} > 0', value: 6, holds: true, text: '6 requests are running.', text_zh: '有 6 个请求正在运行。' },
    { symptom: 'process_dead', expr: 'watch_process_up{job="chat",instance="127.0.0.1:8000"} == 0', value: 1, holds: false, text: 'The process is alive.', text_zh: '进程存活。' },
    { symptom: 'process_stopped', expr: 'watch_process_stopped{job="chat",instance="127.0.0.1:8000"} == 1', value: null, holds: false, text: 'The process is not stopped (state T).', text_zh: '进程未被暂停（状态 T）。' },
  ],
}
const saturated = {
  id: 'inc-20261121-213310-2', subject: 'replica:chat/127.0.0.1:8001', cause: 'saturated', confidence: 'likely', act: false, opened_ms: begun - 3 * MIN, closed_ms: 0,
  summary: 'chat-b is full: 57 requests wait while tokens keep moving. Restarting would make it worse.', summary_zh: 'chat-b 已满：57 个请求在排队，但 token 仍在产出。重启只会更糟。',
  evidence: [{ symptom: 'queue_long', expr: 'llm_requests_waiting{job="chat",instance="127.0.0.1:8001"} > 8', value: 57, holds: true, text: '57 requests are waiting.', text_zh: '57 个请求在排队。' }],
}
const dead = {
  id: 'inc-20261121-204411-1', subject, cause: 'engine_dead', confidence: 'confirmed', act: true, opened_ms: begun - 51 * MIN, closed_ms: begun - 51 * MIN + 7400,
  summary: 'chat-a was killed by signal 9.', summary_zh: 'chat-a 被信号 9 杀死。',
  evidence: [{ symptom: 'process_dead', expr: 'watch_process_up{job="chat",instance="127.0.0.1:8000"} == 0', value: 0, holds: true, text: 'The process has ended by signal 9.', text_zh: '进程被信号 9 终止。' }],
}
const incidents = () => (scene === 'trouble' ? [stalled, saturated, dead] : scene === 'calm' ? [dead] : [])
const episodes = () => (scene === 'trouble'
  ? [{ policy: 'restart-stalled', subject, incident: stalled.id, cause: 'decode_stalled', action: 'restart', state: 'verifying', mode: 'auto', attempt: 1, since_ms: begun - 9000, reason: 'restarted; waiting for a real completion to succeed' }]
  : []).concat(scene === 'empty' ? [] : [{ policy: 'restart-dead', subject, incident: dead.id, cause: 'engine_dead', action: 'restart', state: 'done', mode: 'auto', attempt: 1, since_ms: begun - 50 * MIN, reason: 'a real completion succeeded twice within 30 s' }])
const alerts = () => (scene === 'trouble' ? [
  { name: 'LLMNoProgress', state: 'firing', labels: { alertname: 'LLMNoProgress', job: 'chat', instance: '127.0.0.1:8000', severity: 'critical' }, annotations: { summary: 'chat-a has made no progress for 34 s while requests are running' }, active_at_ms: begun - 40_000, value: 34.2 },
  { name: 'LLMQueueLong', state: 'firing', labels: { alertname: 'LLMQueueLong', job: 'chat', instance: '127.0.0.1:8001', severity: 'warning' }, annotations: { summary: '57 requests are waiting at chat-b' }, active_at_ms: begun - 170_000, value: 57 },
] : [])

const records = () => {
  if (scene === 'empty') return [{ seq: 1, t_ms: begun, kind: 'galen.started', actor: 'galen', subject: '', incident: '', message: 'galen 0.1.0 started', data: null }]
  const rows = []
  const put = (t_ms, kind, actor, incident, message, data = null) => rows.push({ seq: rows.length + 1, t_ms, kind, actor, subject: kind.startsWith('galen') ? '' : subject, incident, message, data })
  put(begun - 60 * MIN, 'galen.started', 'galen', '', 'galen 0.1.0 started on 127.0.0.1:9600')
  put(dead.opened_ms - 20, 'watch.process.ended', 'galen', '', 'process 4090 of chat-a was ended by signal 9')
  put(dead.opened_ms, 'diagnose.incident.opened', 'galen', dead.id, dead.summary, { cause: 'engine_dead' })
  put(dead.opened_ms + 60, 'heal.action.intended', 'policy:restart-dead', dead.id, 'restart chat-a (attempt 1 of 3)')
  put(dead.opened_ms + 900, 'heal.action.done', 'policy:restart-dead', dead.id, 'process 4121 runs')
  put(dead.closed_ms - 10, 'heal.verified', 'policy:restart-dead', dead.id, 'a real completion succeeded twice')
  put(dead.closed_ms, 'diagnose.incident.closed', 'galen', dead.id, 'chat-a is healthy again')
  if (scene === 'trouble') {
    put(begun - 42_000, 'diagnose.incident.opened', 'galen', stalled.id, stalled.summary, { cause: 'decode_stalled', confidence: 'confirmed', evidence: ['progress_stopped', 'completion_probe_fails'] })
    put(begun - 40_000, 'alert.firing', 'galen', stalled.id, 'LLMNoProgress is firing for chat-a')
    put(begun - 41_600, 'heal.action.intended', 'policy:restart-stalled', stalled.id, 'restart chat-a (attempt 1 of 3), SIGTERM then SIGKILL after 5 s')
    put(begun - 36_000, 'heal.action.done', 'policy:restart-stalled', stalled.id, 'process 4421 runs')
    put(begun - 35_900, 'heal.verifying', 'policy:restart-stalled', stalled.id, 'waiting for a real completion within 60 s')
  }
  return rows
}

/* ---- just enough of Prometheus's API ---- */
function range(params) {
  const expr = params.get('query'), from = Number(params.get('start')), to = Number(params.get('end')), step = Number(params.get('step'))
  if (/\($|^!|error/.test(expr)) return { status: 400, body: { status: 'error', errorType: 'bad_data', error: '1:5: parse error: unclosed left parenthesis', hint: 'Close the parenthesis opened at column 4.' } }
  const known = Object.keys(vitals).find((k) => vitals[k][0] === expr)
  const metrics = known ? [{}] : /^up$|nothing/.test(expr) && scene === 'empty' ? [] : expr === tokens_expr || /llm_|probe_|watch_/.test(expr)
    ? replicas(to).map((r) => ({ job: r.job, instance: r.instance })) : Array.from({ length: /by \(cpu\)/.test(expr) ? 8 : 3 }, (_, i) => ({ __name__: 'up', job: 'node', cpu: String(i) }))
  const result = metrics.map((metric) => {
    const values = []
    for (let t = from; t <= to + 1e-9; t += step) values.push([t, String(known ? vital(known, t) : noise(JSON.stringify(metric), t) * (metric.job === 'chat' ? 180 : 1))])
    return { metric, values }
  })
  return { status: 200, body: { status: 'success', data: { resultType: 'matrix', result } } }
}

const names = ['up', 'node_cpu_seconds_total', 'node_load1', 'node_memory_MemAvailable_bytes', 'llm_requests_running', 'llm_requests_waiting', 'llm_generation_tokens_total', 'llm_ttft_seconds_bucket', 'probe_ttft_seconds', 'watch_progress_age_seconds']
const rule_groups = () => (scene === 'empty' ? [] : [{ name: 'mgeo-service', file: 'mgeo_alerts.yml', interval: 15, rules: [
  { name: 'HighRequestLatency', query: 'mgeo_request_latency > 500', duration: 300, type: 'alerting', state: 'inactive', health: 'ok', labels: { severity: 'warning' }, alerts: [] },
  { name: 'LLMNoProgress', query: 'watch_progress_age_seconds > 30', duration: 0, type: 'alerting', state: scene === 'trouble' ? 'firing' : 'inactive', health: 'ok', labels: { severity: 'critical' }, alerts: [] },
  { name: 'job:llm_tokens:rate1m', query: 'sum by (job) (rate(llm_generation_tokens_total[1m]))', type: 'recording', health: 'ok' }] }])

function answer(path, params) {
  const now = Date.now()
  const ok = (data) => ({ status: 200, body: { status: 'success', data } })
  if (scene === 'error') return { status: 503, body: { error: 'the store is being recovered', hint: 'Wait a moment; progress is in the log.' } }
  if (path === '/api/galen/v1/overview') return { status: 200, body: { version: '0.1.0', now_ms: now, uptime_s: 3600 + (now - begun) / 1000, host: host(now / 1000), replicas: replicas(now / 1000), alerts: alerts(), incidents: incidents(), heal: episodes(), own: { rss_bytes: 27.3 * 2 ** 20, cpu_ratio: 0.0041, series: 1843, samples_per_s: 1204 } } }
  if (path === '/api/galen/v1/incidents') return { status: 200, body: { incidents: incidents() } }
  if (path.startsWith('/api/galen/v1/incidents/')) {
    const i = incidents().find((x) => x.id === path.split('/').pop())
    return i ? { status: 200, body: { ...i, timeline: records().filter((r) => r.incident === i.id) } } : { status: 404, body: { error: 'no incident has this id', hint: '' } }
  }
  if (path === '/api/galen/v1/heal') return { status: 200, body: { mode: scene === 'calm' ? 'suggest' : 'auto', episodes: episodes(), policies: scene === 'empty' ? [] : [
    { name: 'restart-dead', mode: 'auto', explain: 'When the cause is “engine dead”, restart the process; at most 3 times an hour, one at a time. Proof: a real completion succeeds within 60 s and holds for 30 s. Otherwise a human is told.', explain_zh: '当原因是“引擎已死”时，重启进程；每小时最多 3 次，一次一个。证明：60 秒内一次真实补全成功，并保持 30 秒。否则通知人工。' },
    { name: 'restart-stalled', mode: 'auto', explain: 'When the cause is “decode stalled” and the queue is not just full, restart the process; at most 3 times an hour.', explain_zh: '当原因是“解码停滞”且并非只是队列已满时，重启进程；每小时最多 3 次。' }] } }
  if (path === '/api/galen/v1/audit') return { status: 200, body: { records: records().reverse().filter((r) => r.kind.startsWith(params.get('kind') ?? '')).slice(0, Number(params.get('limit') ?? 200)) } }
  if (path === '/api/v1/query_range') return range(params)
  if (path === '/api/v1/rules') return ok({ groups: rule_groups() })
  if (path === '/api/v1/alerts') return ok({ alerts: alerts().map((a) => ({ labels: a.labels, annotations: a.annotations, state: a.state, activeAt: new Date(a.active_at_ms).toISOString(), value: String(a.value) })) })
  if (path === '/api/v1/targets') return ok({ activeTargets: [{ labels: { job: 'node', instance: 'gpu-07' }, scrapePool: 'node', scrapeUrl: 'proc:/proc', lastError: '', lastScrape: new Date(now - 400).toISOString(), lastScrapeDuration: 0.0021, health: 'up' }, ...replicas(0).map((r) => ({ labels: { job: r.job, instance: r.instance }, scrapePool: r.job, scrapeUrl: `${r.url}/metrics`, lastError: '', lastScrape: new Date(now - 2100).toISOString(), lastScrapeDuration: 0.0043, health: 'up' }))], droppedTargets: [] })
  if (path === '/api/v1/label/__name__/values') return ok(names)
  if (path === '/api/v1/labels') return ok(['__name__', 'job', 'instance', 'cpu', 'mode'])
  if (path === '/api/v1/metadata') return ok(Object.fromEntries(names.map((n) => [n, [{ type: 'gauge', help: `What ${n} says.`, unit: '' }]])))
  if (path === '/api/v1/series') return ok(names.map((n) => ({ __name__: n, job: 'node' })))
  if (path.startsWith('/api/v1/label/')) return ok(['node', 'chat'])
  return { status: 404, body: { error: `nothing is at ${path}`, hint: '' } }
}

const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' }
const csp = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

createServer((req, res) => {
  const url = new URL(req.url, 'http://galen')
  const file = dir && join(dir, normalize(url.pathname === '/' ? '/index.html' : url.pathname))
  if (file && existsSync(file) && extname(file) in types) {
    res.writeHead(200, { 'content-type': types[extname(file)], 'content-security-policy': csp })
    return res.end(readFileSync(file))
  }
  const { status, body } = answer(decodeURIComponent(url.pathname), url.searchParams)
  res.writeHead(status, { 'content-type': 'application/json' })
  res.end(JSON.stringify(body))
}).listen(port, '127.0.0.1', () => console.log(`mock galen (${scene}) on http://127.0.0.1:${port}`))
