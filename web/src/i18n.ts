/* English and Chinese, side by side: one row a text, so that neither can be forgotten.
 *
 * The browser's language decides until somebody chooses; the choice is remembered. Names that are data
 * (causes, states) are rows too; a name without a row is shown as galen sent it. {x} is filled in. */
import { effect, signal } from '@preact/signals'

export type Lang = 'en' | 'zh'
const KEY = 'galen.lang'

const texts = {
  /* tabs */
  'tab.overview': ['Overview', '总览'],
  'tab.watch': ['Watch', '监视'],
  'tab.store': ['Store', '存储'],
  'tab.query': ['Query', '查询'],
  'tab.alert': ['Alerts', '告警'],
  'tab.diagnose': ['Diagnose', '诊断'],
  'tab.heal': ['Heal', '自愈'],
  'tab.audit': ['Audit', '审计'],
  'nav.main': ['Rooms', '栏目'],
  'nav.skip': ['Skip to content', '跳到内容'],
  'lang.switch': ['中文', 'English'],
  'lang.label': ['Switch to Chinese', '切换到英文'],

  /* common */
  loading: ['Loading…', '加载中…'],
  none: ['None', '无'],
  since: ['since {x}', '自 {x}'],
  ago: ['{x} ago', '{x}前'],
  for: ['for {x}', '已持续 {x}'],
  unreachable: ['galen does not answer since {x}. What you see is from then; trying again every second.', 'galen 自 {x} 起没有应答。页面上的数据停留在那时，正在每秒重试。'],
  unreachable_never: ['galen does not answer. Is it still running?  Trying again every second.', 'galen 没有应答，它还在运行吗？正在每秒重试。'],
  failed: ['Could not load this: {x}', '加载失败：{x}'],
  hint: ['Hint: {x}', '提示：{x}'],
  run_again: ['run again', '重新查询'],
  open_query: ['open in Query', '在查询中打开'],
  name: ['Name', '名称'],
  state: ['State', '状态'],
  value: ['Value', '值'],
  time: ['Time', '时间'],
  subject: ['Subject', '对象'],
  message: ['Message', '说明'],

  /* verdict */
  'verdict.well': ['All is well', '一切正常'],
  'verdict.well_text': ['{n} replicas answer, no incident is open, no alert is firing.', '{n} 个副本正常应答，没有未结事件，没有告警。'],
  'verdict.no_replica': ['No inference engine is being watched yet', '还没有监视任何推理引擎'],
  'verdict.no_replica_text': ['This host is watched. galen looks for vLLM and llama.cpp on loopback once a minute; or name replicas under watch: in galen.yml.', '本机正在被监视。galen 每分钟在回环地址上寻找 vLLM 与 llama.cpp；也可以在 galen.yml 的 watch: 下写明副本。'],
  'verdict.look': ['Worth a look', '需要留意'],
  'verdict.bad': ['Needs attention', '需要处理'],
  'verdict.more': ['and {n} more open incidents', '另有 {n} 个未结事件'],
  'verdict.alerts': ['{n} alerts firing', '{n} 条告警触发中'],
  'verdict.alert': ['1 alert firing', '1 条告警触发中'],
  'verdict.unwell': ['{n} of {m} replicas not healthy', '{m} 个副本中有 {n} 个不健康'],

  /* overview */
  'sec.host': ['Host', '主机'],
  'sec.engines': ['Engines', '推理引擎'],
  'sec.alerts': ['Firing alerts', '触发中的告警'],
  'sec.recent': ['Lately closed', '最近结案'],
  'host.cpu': ['CPU', 'CPU'],
  'host.memory': ['Memory', '内存'],
  'host.load': ['Load', '负载'],
  'host.disk': ['Disk', '磁盘'],
  'host.net': ['Network', '网络'],
  'host.pressure': ['Pressure', '压力'],
  'host.cores': ['{n} cores', '{n} 核'],
  'host.loads': ['5 min {a} · 15 min {b}', '5 分 {a} · 15 分 {b}'],
  'host.of': ['of {x}', '共 {x}'],
  'host.used': ['{x} used', '已用 {x}'],
  'host.psi_memory': ['mem', '内存'],
  'host.psi_io': ['io', 'IO'],
  'host.last5': ['last 5 minutes', '最近 5 分钟'],
  'host.off': ['This host is not watched (--watch=off).', '没有监视本机（--watch=off）。'],
  'host.swap': ['swap {x}', '交换 {x}'],
  'engine.running': ['running', '运行'],
  'engine.waiting': ['waiting', '排队'],
  'engine.tokens': ['tokens/s', 'token/秒'],
  'engine.ttft': ['TTFT', '首 token'],
  'engine.kv': ['KV cache', 'KV 缓存'],
  'engine.restarts': ['restarts', '重启'],
  'engine.found': ['found on loopback', '回环发现'],
  'engine.pid': ['pid {n}', '进程 {n}'],
  'engine.probe_failed': ['probe: {x}', '探测：{x}'],
  'engine.scrape_failed': ['scrape: {x}', '抓取：{x}'],
  'own.line': ['galen {v} · up {up} · {rss} · {cpu} of a core · {series} series · {rate} samples/s', 'galen {v} · 已运行 {up} · {rss} · 占单核 {cpu} · {series} 条序列 · {rate} 样本/秒'],

  /* replica states */
  'state.healthy': ['healthy', '健康'],
  'state.suspect': ['suspect', '可疑'],
  'state.stalled': ['stalled', '停滞'],
  'state.dead': ['dead', '已死'],
  'state.frozen': ['frozen', '冻结'],
  'state.saturated': ['saturated', '饱和'],
  'state.unknown': ['unknown', '未知'],
  'state.firing': ['firing', '触发'],
  'state.pending': ['pending', '待定'],
  'state.inactive': ['inactive', '未触发'],
  'state.open': ['open', '未结'],
  'state.closed': ['closed', '已结'],
  'state.up': ['up', '在线'],
  'state.down': ['down', '离线'],
  'state.idle': ['idle', '空闲'],
  'state.progressing': ['progressing', '进行中'],
  'state.starting': ['starting', '启动中'],
  'state.running': ['running', '运行中'],
  'state.stopping': ['stopping', '停止中'],
  'state.exited': ['exited', '已退出'],
  'state.suggested': ['suggested', '建议'],
  'state.waiting': ['waiting', '等待'],
  'state.acting': ['acting', '执行中'],
  'state.verifying': ['verifying', '验证中'],
  'state.done': ['done', '完成'],
  'state.needs_human': ['needs a human', '需要人工'],
  'state.cancelled': ['cancelled', '已取消'],

  /* kinds of subject */
  'kind.replica': ['replica', '副本'],
  'kind.host': ['host', '主机'],
  'kind.process': ['process', '进程'],
  'kind.rule': ['rule', '规则'],
  'kind.policy': ['policy', '策略'],

  /* causes and confidence */
  'cause.engine_dead': ['Engine dead', '引擎已死'],
  'cause.engine_frozen': ['Engine frozen', '引擎被冻结'],
  'cause.decode_stalled': ['Decode stalled', '解码停滞'],
  'cause.saturated': ['Saturated', '负载饱和'],
  'cause.inconclusive': ['Inconclusive', '尚无定论'],
  'conf.inconclusive': ['inconclusive', '尚无定论'],
  'conf.likely': ['likely', '很可能'],
  'conf.confirmed': ['confirmed', '已确认'],

  /* watch */
  'watch.replicas': ['Replicas', '副本'],
  'watch.replicas_text': ['Running copies of an engine: configured, or found on loopback.', '运行中的引擎副本：来自配置，或在回环地址上发现。'],
  'watch.targets': ['Scrape targets', '抓取目标'],
  'watch.targets_text': ['Everything galen reads numbers from, and how the last reading went.', 'galen 读取指标的所有来源，以及最近一次读取的结果。'],
  'watch.none': ['No replica yet.', '还没有副本。'],
  'watch.no_targets': ['No scrape target.', '没有抓取目标。'],
  'watch.engine': ['Engine', '引擎'],
  'watch.process': ['Process', '进程'],
  'watch.probes': ['Probes', '探测'],
  'watch.probe_health': ['health', '健康'],
  'watch.probe_completion': ['completion', '补全'],
  'watch.progress': ['Progress', '进展'],
  'watch.not_supervised': ['not supervised', '非托管'],
  'watch.last': ['Last scrape', '上次抓取'],
  'watch.took': ['Took', '耗时'],
  'watch.pool': ['Pool', '抓取池'],
  'watch.endpoint': ['Endpoint', '地址'],
  'watch.error': ['Error', '错误'],

  /* query */
  'query.placeholder': ['PromQL, e.g. up', 'PromQL，例如 up'],
  'query.label': ['PromQL expression', 'PromQL 表达式'],
  'query.run': ['Run', '执行'],
  'query.range': ['Range', '范围'],
  'query.table': ['Table', '表'],
  'query.empty': ['The query answered nothing in this range.', '该查询在此范围内没有结果。'],
  'query.start': ['Ask a question in PromQL, or start from one of these:', '用 PromQL 提问，或从这些例子开始：'],
  'query.more': ['{n} more series are not drawn', '另有 {n} 条序列未绘制'],
  'query.took': ['{n} series in {x}', '{n} 条序列，用时 {x}'],
  'query.now': ['value now', '当前值'],
  'query.keys': ['Enter runs, Shift+Enter starts a new line, Ctrl+Space completes.', '回车执行，Shift+回车换行，Ctrl+空格补全。'],
  'query.live': ['live', '实时'],
  'query.ex.cpu': ['CPU busy, by core', '各核 CPU 使用率'],
  'query.ex.mem': ['Memory in use', '内存使用率'],
  'query.ex.tokens': ['Tokens per second, by replica', '各副本每秒 token 数'],
  'query.ex.queue': ['Requests waiting', '排队请求'],
  'query.ex.ttft': ['Time to first token (probe)', '首 token 时间（探测）'],
  'query.ex.progress': ['Seconds since the last progress', '距上次进展的秒数'],
  'query.chart': ['Graph of {x}', '{x} 的曲线图'],

  /* alert */
  'alert.active': ['Active alerts', '当前告警'],
  'alert.none': ['No alert is pending or firing.', '没有待定或触发中的告警。'],
  'alert.rules': ['Rules', '规则'],
  'alert.no_rules': ['No rule file is loaded. Name them under alert.rule_files in galen.yml.', '没有加载规则文件。请写在 galen.yml 的 alert.rule_files 下。'],
  'alert.recording': ['recording', '记录'],
  'alert.every': ['every {x}', '每 {x}'],
  'alert.hold': ['for {x}', '持续 {x}'],
  'alert.labels': ['Labels', '标签'],
  'alert.expr': ['Expression', '表达式'],

  /* diagnose */
  'diag.open': ['Open', '未结'],
  'diag.closed': ['Closed', '已结'],
  'diag.none_open': ['No incident is open.', '没有未结事件。'],
  'diag.none_closed': ['No incident has been closed yet.', '还没有结案的事件。'],
  'diag.back': ['All incidents', '全部事件'],
  'diag.opened': ['opened {x}', '开始于 {x}'],
  'diag.closed_at': ['closed {x}', '结束于 {x}'],
  'diag.lasted': ['lasted {x}', '持续 {x}'],
  'diag.symptoms': ['Symptoms and evidence', '症状与证据'],
  'diag.cause': ['Cause', '原因'],
  'diag.action': ['Action', '处置'],
  'diag.outcome': ['Outcome', '结果'],
  'diag.timeline': ['Timeline', '时间线'],
  'diag.holds': ['speaks for it', '支持'],
  'diag.not': ['does not hold', '不成立'],
  'diag.no_evidence': ['No evidence was recorded.', '没有记录证据。'],
  'diag.no_action': ['No action was taken.', '没有采取动作。'],
  'diag.hands_off': ['Healing must not touch this: restarting would make it worse.', '自愈不得处理：重启只会更糟。'],
  'diag.pending': ['Not over yet.', '尚未结束。'],
  'diag.recovered': ['Recovered after {x}.', '{x} 后恢复。'],
  'diag.gone': ['There is no incident with this id.', '没有这个编号的事件。'],
  'diag.measured': ['measured {x}', '测得 {x}'],
  'diag.nothing': ['nothing', '无数据'],

  /* heal */
  'heal.mode': ['Mode', '模式'],
  'mode.off': ['off', '关闭'],
  'mode.suggest': ['suggest', '建议'],
  'mode.approve': ['approve', '审批'],
  'mode.auto': ['auto', '自动'],
  'mode.off_text': ['Healing is switched off: galen only watches and tells.', '自愈已关闭：galen 只监视和告知。'],
  'mode.suggest_text': ['galen says what it would do and does nothing. Set heal.mode: auto in galen.yml to let it act.', 'galen 只说明会怎么做，不动手。在 galen.yml 里设 heal.mode: auto 才会执行。'],
  'mode.approve_text': ['galen prepares each action and waits for a person to approve it.', 'galen 准备好每个动作，等人批准。'],
  'mode.auto_text': ['galen acts by the policies below, inside their limits, and proves each outcome by signals.', 'galen 按下列策略、在限额之内自动处置，并以信号验证结果。'],
  'heal.paused': ['Paused by an operator: nothing is done until it is resumed.', '已由操作员暂停：恢复之前不做任何动作。'],
  'heal.policies': ['Policies', '策略'],
  'heal.no_policies': ['No policy is loaded. Name policy files under heal.policies in galen.yml.', '没有加载策略。请在 galen.yml 的 heal.policies 下写明策略文件。'],
  'heal.episodes': ['Episodes', '处置过程'],
  'heal.no_episodes': ['Nothing had to be healed so far.', '目前没有需要自愈的情况。'],
  'heal.policy': ['Policy', '策略'],
  'heal.action': ['Action', '动作'],
  'heal.attempt': ['Attempt', '次数'],
  'heal.why': ['Why', '原因说明'],

  /* store */
  'store.text': ['What galen remembers of numbers. Deleting and snapshots: “galen store” or the admin API.', 'galen 记住的数值。删除与快照：用 “galen store” 或管理 API。'],
  'store.active': ['Active series', '活跃序列'],
  'store.chunks': ['{n} chunks in memory', '内存中 {n} 个块'],
  'store.kept': ['Samples kept', '保存的样本'],
  'store.spanning': ['over {x}', '跨度 {x}'],
  'store.on_disk': ['On disk', '磁盘占用'],
  'store.of_log': ['log {x}', '其中日志 {x}'],
  'store.bytes_per_sample': ['Bytes per sample', '每样本字节'],
  'store.in_blocks': ['in {n} blocks', '共 {n} 个数据块'],
  'store.retention': ['Kept for', '保留时间'],
  'store.retention_bytes': ['Kept up to', '保留大小上限'],
  'store.out_of_order': ['Late samples taken up to', '接受迟到样本的时限'],
  'store.tier_5m': ['5-minute roll-ups kept for', '5 分钟汇总保留'],
  'store.tier_1h': ['1-hour roll-ups kept for', '1 小时汇总保留'],
  'store.max_series': ['Series at most', '序列上限'],
  'store.max_per_metric': ['Series of one metric at most', '单个指标的序列上限'],
  'store.max_per_target': ['Series of one target at most', '单个目标的序列上限'],
  'store.memory': ['Memory at most', '内存上限'],
  'store.unset': ['not set', '未设置'],
  'store.refused': ['Newcomers refused', '被拒的新序列'],
  'store.refused_note': ['new series over a limit', '超出上限的新序列'],
  'store.top': ['Who takes the room', '谁占用了空间'],
  'store.top_note': ['series in memory', '内存中的序列'],
  'store.by_metric': ['Series by metric', '按指标的序列数'],
  'store.by_target': ['Series by target', '按目标的序列数'],
  'store.by_label': ['Values by label', '按标签的取值数'],
  'store.by_pair': ['Series by label and value', '按标签取值的序列数'],
  'store.limits': ['Retention, tiers, limits', '保留、汇总与上限'],
  'store.limits_note': ['section store of galen.yml', 'galen.yml 的 store 一节'],
  'store.blocks': ['Blocks', '数据块'],
  'store.no_blocks': ['No block yet: all samples are in memory and in the log.', '还没有数据块：样本都在内存和日志中。'],
  'store.block': ['Block', '数据块'],
  'store.from': ['From', '起始'],
  'store.span': ['Span', '跨度'],
  'store.series': ['Series', '序列'],
  'store.samples': ['Samples', '样本'],
  'store.size': ['Size', '大小'],
  'store.deleted': ['Deleted ranges', '已删区间'],
  'store.damaged': ['damaged', '损坏'],

  /* audit */
  'audit.text': ['Everything that happened or was decided: append-only, hash-chained. Verify it with “galen audit verify”.', '发生过、决定过的一切：只追加、哈希成链。用 “galen audit verify” 校验。'],
  'audit.search': ['Search in these records', '在记录中搜索'],
  'audit.kind': ['Kind', '类别'],
  'audit.all': ['all', '全部'],
  'audit.actor': ['Who', '执行者'],
  'audit.more': ['Older records', '更早的记录'],
  'audit.none': ['No record matches.', '没有匹配的记录。'],
  'audit.count': ['{n} records', '{n} 条记录'],
  'audit.data': ['evidence', '证据'],
} satisfies Record<string, [string, string]>

export type Text = keyof typeof texts
export const all_texts: Record<string, [string, string]> = texts as unknown as Record<string, [string, string]>

export function preferred(stored: string | null, browser: readonly string[]): Lang {
  if (stored === 'en' || stored === 'zh') return stored
  const first = browser.find((l) => /^(en|zh)\b/i.test(l))
  return first && /^zh/i.test(first) ? 'zh' : 'en'
}

function remembered(): string | null {
  try { return localStorage.getItem(KEY) } catch { return null } /* storage may be forbidden */
}

export const lang = signal<Lang>(typeof navigator === 'undefined' ? 'en' : preferred(remembered(), navigator.languages ?? []))

export function switch_lang() {
  lang.value = lang.value === 'en' ? 'zh' : 'en'
  try { localStorage.setItem(KEY, lang.value) } catch { /* then it lasts until the page is closed */ }
}

if (typeof document !== 'undefined')
  effect(() => { document.documentElement.lang = lang.value === 'zh' ? 'zh-CN' : 'en' })

function fill(text: string, args?: Record<string, string | number>): string {
  return args ? text.replace(/\{(\w+)\}/g, (whole, k) => (k in args ? String(args[k]) : whole)) : text
}

export function t(key: Text, args?: Record<string, string | number>): string {
  return fill(texts[key][lang.value === 'zh' ? 1 : 0], args)
}

/* A name galen sent (state, cause …): its row, or the name with spaces for underscores. */
export function word(group: 'state' | 'cause' | 'conf' | 'mode' | 'kind', name: string | undefined): string {
  if (!name) return '–'
  const row = all_texts[`${group}.${name.replace(/[ -]/g, '_')}`]
  return row ? row[lang.value === 'zh' ? 1 : 0] : name.replace(/_/g, ' ')
}

/* Whichever of a text and its Chinese the reader wants and galen has. */
export function pick(en: string | undefined, zh: string | undefined): string {
  return (lang.value === 'zh' ? zh || en : en || zh) ?? ''
}
