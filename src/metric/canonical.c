/* The one table that says how each engine names the canonical signals. Facts: the engines' own sources, read
 * 2026-11 (vLLM v1/metrics/loggers.py, SGLang observability/metrics_collector.py, TGI router/src/server.rs,
 * llama.cpp tools/server, LMDeploy metrics/loggers.py). Older names stand below the newer ones: the first that
 * a target has wins. */
#include "metric/metric.h"

const canonical_signal canonical_signals[] = {
    { "llm_requests_running", METRIC_GAUGE, "requests", "Requests in the running batch." },
    { "llm_requests_waiting", METRIC_GAUGE, "requests", "Requests waiting for a place in the batch." },
    { "llm_ttft_seconds", METRIC_HISTOGRAM, "seconds", "Arrival to first token." },
    { "llm_itl_seconds", METRIC_HISTOGRAM, "seconds", "Gap between tokens." },
    { "llm_e2e_seconds", METRIC_HISTOGRAM, "seconds", "Arrival to last token." },
    { "llm_queue_seconds", METRIC_HISTOGRAM, "seconds", "Time in the queue before the first step." },
    { "llm_prefill_seconds", METRIC_HISTOGRAM, "seconds", "Time from the queue's end to the first token." },
    { "llm_decode_seconds", METRIC_HISTOGRAM, "seconds", "First to last token." },
    { "llm_prompt_tokens_total", METRIC_COUNTER, "tokens", "Prompt tokens, cached ones included where the engine counts them." },
    { "llm_generation_tokens_total", METRIC_COUNTER, "tokens", "Generated tokens." },
    { "llm_requests_total", METRIC_COUNTER, "requests", "Finished requests; label finished_reason where the engine tells." },
    { "llm_kv_cache_usage_ratio", METRIC_GAUGE, "ratio", "Used share of the KV cache, 0..1." },
    { "llm_prefix_cache_queries_total", METRIC_COUNTER, "tokens", "Prompt tokens looked up in the prefix cache." },
    { "llm_prefix_cache_hits_total", METRIC_COUNTER, "tokens", "Prompt tokens found in the prefix cache." },
    { "llm_preemptions_total", METRIC_COUNTER, "events", "Requests evicted from the batch and computed again." },
    { "llm_progress_total", METRIC_COUNTER, "steps", "Moves whenever the engine does useful work; any unit. Flat while requests run: stalled." },
};
const size_t canonical_signal_count = COUNT_OF(canonical_signals);

#define VLLM(name_, raw_) { .name = name_, .engine = "vllm", .raw = raw_, .rename_from = "model_name", .rename_to = "model", .rank_label = "engine" }
#define SGLANG(name_, raw_) { .name = name_, .engine = "sglang", .raw = raw_, .rename_from = "model_name", .rename_to = "model" }
#define LMDEPLOY(name_, raw_) { .name = name_, .engine = "lmdeploy", .raw = raw_, .rename_from = "model_name", .rename_to = "model", .rank_label = "engine" }
#define TGI(name_, raw_) { .name = name_, .engine = "tgi", .raw = raw_ }
#define LLAMACPP(name_, raw_) { .name = name_, .engine = "llama.cpp", .raw = raw_ }
#define STEP(phase_, group) .add_label = "phase", .add_value = phase_, .also = group

const canonical_view canonical_views[] = {
    VLLM("llm_requests_running", "vllm:num_requests_running"),
    VLLM("llm_requests_waiting", "vllm:num_requests_waiting"),
    VLLM("llm_ttft_seconds", "vllm:time_to_first_token_seconds"),
    VLLM("llm_itl_seconds", "vllm:inter_token_latency_seconds"),
    VLLM("llm_itl_seconds", "vllm:time_per_output_token_seconds"),
    VLLM("llm_e2e_seconds", "vllm:e2e_request_latency_seconds"),
    VLLM("llm_queue_seconds", "vllm:request_queue_time_seconds"),
    VLLM("llm_prefill_seconds", "vllm:request_prefill_time_seconds"),
    VLLM("llm_decode_seconds", "vllm:request_decode_time_seconds"),
    VLLM("llm_prompt_tokens_total", "vllm:prompt_tokens_total"),
    VLLM("llm_generation_tokens_total", "vllm:generation_tokens_total"),
    VLLM("llm_requests_total", "vllm:request_success_total"),
    VLLM("llm_kv_cache_usage_ratio", "vllm:kv_cache_usage_perc"),
    VLLM("llm_kv_cache_usage_ratio", "vllm:gpu_cache_usage_perc"),
    VLLM("llm_prefix_cache_queries_total", "vllm:prefix_cache_queries_total"),
    VLLM("llm_prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"),
    VLLM("llm_prefix_cache_hits_total", "vllm:prefix_cache_hits_total"),
    VLLM("llm_prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
    VLLM("llm_preemptions_total", "vllm:num_preemptions_total"),
    { .name = "llm_progress_total", .engine = "vllm", .raw = "vllm:prompt_tokens_total", .rename_from = "model_name", .rename_to = "model", .rank_label = "engine", STEP("prefill", 1) },
    { .name = "llm_progress_total", .engine = "vllm", .raw = "vllm:generation_tokens_total", .rename_from = "model_name", .rename_to = "model", .rank_label = "engine", STEP("decode", 1) },

    SGLANG("llm_requests_running", "sglang:num_running_reqs"),
    SGLANG("llm_requests_waiting", "sglang:num_queue_reqs"),
    SGLANG("llm_ttft_seconds", "sglang:time_to_first_token_seconds"),
    SGLANG("llm_itl_seconds", "sglang:inter_token_latency_seconds"),
    SGLANG("llm_e2e_seconds", "sglang:e2e_request_latency_seconds"),
    SGLANG("llm_queue_seconds", "sglang:queue_time_seconds"),
    SGLANG("llm_prompt_tokens_total", "sglang:prompt_tokens_total"),
    SGLANG("llm_generation_tokens_total", "sglang:generation_tokens_total"),
    SGLANG("llm_requests_total", "sglang:num_requests_total"),
    SGLANG("llm_kv_cache_usage_ratio", "sglang:token_usage"),
    SGLANG("llm_preemptions_total", "sglang:num_retracted_requests_total"),
    SGLANG("llm_progress_total", "sglang:realtime_tokens_total"),

    TGI("llm_requests_running", "tgi_batch_current_size"),
    TGI("llm_requests_waiting", "tgi_queue_size"),
    TGI("llm_e2e_seconds", "tgi_request_duration"),
    TGI("llm_queue_seconds", "tgi_request_queue_duration"),
    TGI("llm_requests_total", "tgi_request_count"),
    TGI("llm_prompt_tokens_total", "tgi_request_input_length_sum"),
    TGI("llm_generation_tokens_total", "tgi_request_generated_tokens_sum"),
    TGI("llm_progress_total", "tgi_batch_inference_count"),

    LLAMACPP("llm_requests_running", "llamacpp:requests_processing"),
    LLAMACPP("llm_requests_waiting", "llamacpp:requests_deferred"),
    LLAMACPP("llm_prompt_tokens_total", "llamacpp:prompt_tokens_total"),
    LLAMACPP("llm_generation_tokens_total", "llamacpp:tokens_predicted_total"),
    LLAMACPP("llm_kv_cache_usage_ratio", "llamacpp:kv_cache_usage_ratio"),
    LLAMACPP("llm_prefix_cache_hits_total", "llamacpp:prompt_tokens_cached_total"),
    LLAMACPP("llm_progress_total", "llamacpp:n_decode_total"),

    LMDEPLOY("llm_requests_running", "lmdeploy:num_requests_running"),
    LMDEPLOY("llm_requests_waiting", "lmdeploy:num_requests_waiting"),
    LMDEPLOY("llm_ttft_seconds", "lmdeploy:time_to_first_token_seconds"),
    LMDEPLOY("llm_itl_seconds", "lmdeploy:time_per_output_token_seconds"),
    LMDEPLOY("llm_e2e_seconds", "lmdeploy:e2e_request_latency_seconds"),
    LMDEPLOY("llm_queue_seconds", "lmdeploy:request_queue_time_seconds"),
    LMDEPLOY("llm_prompt_tokens_total", "lmdeploy:prompt_tokens_total"),
    LMDEPLOY("llm_generation_tokens_total", "lmdeploy:generation_tokens_total"),
    LMDEPLOY("llm_kv_cache_usage_ratio", "lmdeploy:gpu_cache_usage_perc"),
    { .name = "llm_progress_total", .engine = "lmdeploy", .raw = "lmdeploy:prompt_tokens_total", .rename_from = "model_name", .rename_to = "model", .rank_label = "engine", STEP("prefill", 2) },
    { .name = "llm_progress_total", .engine = "lmdeploy", .raw = "lmdeploy:generation_tokens_total", .rename_from = "model_name", .rename_to = "model", .rank_label = "engine", STEP("decode", 2) },
};
const size_t canonical_view_count = COUNT_OF(canonical_views);

const canonical_signal *canonical_find(str name)
{
    static const char *const parts[] = { "_bucket", "_sum", "_count" };
    for (size_t i = 0; i < canonical_signal_count; i++) {
        const canonical_signal *s = &canonical_signals[i];
        str base = str_from(s->name);
        if (str_eq(name, base))
            return s;
        if (s->type != METRIC_HISTOGRAM || !str_starts(name, base))
            continue;
        for (size_t k = 0; k < COUNT_OF(parts); k++)
            if (str_is(str_skip(name, base.len), parts[k]))
                return s;
    }
    return NULL;
}
