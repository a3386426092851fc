// metrics.mjs - what the demo engine tells about itself, in the words of one of two real engines.
//
// Names, labels, types and *when each value moves* follow the engines' own sources:
//   llama.cpp  tools/server: no labels, no histograms; token counters are added up when a request ends, n_decode_total
//              moves with every llama_decode() while requests run; the KV gauges were removed in 2025.
//   vLLM       v1/metrics/loggers.py: labels engine and model_name; token counters move while requests run; _created
//              gauges beside counters are left out, as with PROMETHEUS_DISABLE_CREATED_SERIES=true.
// Only one flavour is on a page, so that whoever detects the engine by its page is not told two stories.

const SECONDS = [.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80];

class Histogram {
  constructor() { this.buckets = new Array(SECONDS.length + 1).fill(0); this.sum = 0; this.count = 0; }
  add(seconds) {
    let i = 0;
    while (i < SECONDS.length && seconds > SECONDS[i]) i++;
    this.buckets[i]++;
    this.sum += seconds;
    this.count++;
  }
}

// One per engine; the engine counts into it, the two pages below read it.
export class Counters {
  promptTokens = 0; cachedTokens = 0; generatedTokens = 0;      // live: as they are processed
  endedPrompt = 0; endedCached = 0; endedGenerated = 0;         // the same, added when their request ends
  promptSeconds = 0; generationSeconds = 0;
  decodes = 0; busySlots = 0;                                   // llama_decode() calls, slots busy summed over them
  longest = 0;                                                  // longest sequence so far, in tokens
  finished = {stop: 0, length: 0, abort: 0, error: 0, repetition: 0};
  ttft = new Histogram(); itl = new Histogram(); e2e = new Histogram(); queue = new Histogram();
  prefill = new Histogram(); decode = new Histogram(); inference = new Histogram();
}

class Page {
  lines = [];
  family(name, type, help, rows) {
    this.lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    for (const [labels, value] of rows) this.lines.push(`${name}${labels} ${value}`);
  }
  histogram(name, help, labels, h) {
    this.lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} histogram`);
    let sum = 0;
    for (const [i, le] of [...SECONDS, "+Inf"].entries()) {
      sum += h.buckets[i];
      this.lines.push(`${name}_bucket{${labels},le="${le}"} ${sum}`);
    }
    this.lines.push(`${name}_count{${labels}} ${h.count}`, `${name}_sum{${labels}} ${h.sum}`);
  }
  text() { return this.lines.join("\n") + "\n"; }
}

export function llamacppPage(engine) {
  const c = engine.counters, p = new Page();
  const one = (name, type, help, value) => p.family("llamacpp:" + name, type, help, [["", value]]);
  one("prompt_tokens_total", "counter", "Number of prompt tokens processed.", c.endedPrompt);
  one("prompt_tokens_cached_total", "counter", "Number of prompt tokens reused from the cache", c.endedCached);
  one("prompt_seconds_total", "counter", "Total time spent processing prompts", c.promptSeconds);
  one("tokens_predicted_total", "counter", "Number of generation tokens processed", c.endedGenerated);
  one("tokens_predicted_seconds_total", "counter", "Total time spent generating tokens", c.generationSeconds);
  one("n_decode_total", "counter", "Total number of llama_decode() calls", c.decodes);
  one("n_tokens_max", "counter", "Largest observed sequence length (prompt + generation)", c.longest);
  one("prompt_tokens_seconds", "gauge", "Average prompt throughput in tokens/s",
      c.promptSeconds ? c.endedPrompt / c.promptSeconds : 0);
  one("predicted_tokens_seconds", "gauge", "Average generation throughput in tokens/s",
      c.generationSeconds ? c.endedGenerated / c.generationSeconds : 0);
  one("requests_processing", "gauge", "Number of requests processing", engine.running());
  one("requests_deferred", "gauge", "Number of requests deferred", engine.waiting());
  one("n_busy_slots_per_decode", "gauge", "Average number of busy slots per llama_decode() call",
      c.decodes ? c.busySlots / c.decodes : 0);
  return p.text();
}

const VLLM_BLOCK_TOKENS = 16;

export function vllmPage(engine) {
  const c = engine.counters, p = new Page();
  const labels = `engine="0",model_name="${engine.name}"`;
  const one = (name, type, help, value) => p.family("vllm:" + name, type, help, [[`{${labels}}`, value]]);
  one("num_requests_running", "gauge", "Number of requests in model execution batches.", engine.running());
  one("num_requests_waiting", "gauge", "Number of requests waiting to be processed.", engine.waiting());
  one("kv_cache_usage_perc", "gauge", "KV-cache usage. 1 means 100 percent usage.", engine.kvRatio());
  one("prefix_cache_queries_total", "counter", "Prefix cache queries, in tokens.", c.promptTokens);
  one("prefix_cache_hits_total", "counter", "Prefix cache hits, in tokens.", c.cachedTokens);
  one("num_preemptions_total", "counter", "Cumulative number of preemptions from the engine.", 0);
  one("prompt_tokens_total", "counter", "Number of prefill tokens processed.", c.promptTokens);
  one("generation_tokens_total", "counter", "Number of generation tokens processed.", c.generatedTokens);
  p.family("vllm:request_success_total", "counter", "Count of successfully processed requests.",
           Object.entries(c.finished).map(([why, n]) =>
             [`{engine="0",finished_reason="${why}",model_name="${engine.name}"}`, n]));
  const h = (name, help, values) => p.histogram("vllm:" + name, help, labels, values);
  h("time_to_first_token_seconds", "Histogram of time to first token in seconds.", c.ttft);
  h("inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", c.itl);
  h("e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", c.e2e);
  h("request_queue_time_seconds", "Histogram of time spent in WAITING phase for request.", c.queue);
  h("request_inference_time_seconds", "Histogram of time spent in RUNNING phase for request.", c.inference);
  h("request_prefill_time_seconds", "Histogram of time spent in PREFILL phase for request.", c.prefill);
  h("request_decode_time_seconds", "Histogram of time spent in DECODE phase for request.", c.decode);
  p.family("vllm:cache_config_info", "gauge", "Information of the LLMEngine CacheConfig",
           [[`{block_size="${VLLM_BLOCK_TOKENS}",cache_dtype="auto",enable_prefix_caching="True",engine="0",` +
             `num_gpu_blocks="${Math.floor(engine.capacity() / VLLM_BLOCK_TOKENS)}"}`, 1]]);
  const memory = process.memoryUsage(), cpu = process.cpuUsage();
  p.family("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", [["", memory.rss]]);
  p.family("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.",
           [["", (cpu.user + cpu.system) / 1e6]]);
  p.family("process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.",
           [["", (Date.now() / 1e3 - process.uptime()).toFixed(3)]]);
  return p.text();
}
