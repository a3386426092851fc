/* query/functions/functions.h - the evaluators behind the rows of functions.c, one file a family. */
#pragma once
#include "query/tables.h"

/* over.c: one window of one series */
bool over_avg(const window *w, double *ret);
bool over_sum(const window *w, double *ret);
bool over_min(const window *w, double *ret);
bool over_max(const window *w, double *ret);
bool over_count(const window *w, double *ret);
bool over_last(const window *w, double *ret);
bool over_first(const window *w, double *ret);
bool over_present(const window *w, double *ret);
bool over_stddev(const window *w, double *ret);
bool over_stdvar(const window *w, double *ret);
bool over_quantile(const window *w, double *ret);
bool over_mad(const window *w, double *ret);
bool over_changes(const window *w, double *ret);
bool over_resets(const window *w, double *ret);
bool over_ts_of_min(const window *w, double *ret);
bool over_ts_of_max(const window *w, double *ret);
bool over_ts_of_first(const window *w, double *ret);
bool over_ts_of_last(const window *w, double *ret);
err_kind check_quantile(eval *ev, const ast *call, const grid *g, const double *const params[2]);

/* rate.c */
bool over_rate(const window *w, double *ret);
bool over_increase(const window *w, double *ret);
bool over_delta(const window *w, double *ret);
bool over_irate(const window *w, double *ret);
bool over_idelta(const window *w, double *ret);
bool over_deriv(const window *w, double *ret);
bool over_predict_linear(const window *w, double *ret);
bool over_smoothing(const window *w, double *ret);
err_kind check_smoothing(eval *ev, const ast *call, const grid *g, const double *const params[2]);

/* native.c: windows with native histograms in them */
err_kind native_rate(const native_window *w, slot *ret);
err_kind native_increase(const native_window *w, slot *ret);
err_kind native_delta(const native_window *w, slot *ret);
err_kind native_irate(const native_window *w, slot *ret);
err_kind native_idelta(const native_window *w, slot *ret);
err_kind native_changes(const native_window *w, slot *ret);
err_kind native_resets(const native_window *w, slot *ret);
err_kind native_sum(const native_window *w, slot *ret);
err_kind native_avg(const native_window *w, slot *ret);
err_kind native_count(const native_window *w, slot *ret);
err_kind native_last(const native_window *w, slot *ret);
err_kind native_first(const native_window *w, slot *ret);
err_kind native_present(const native_window *w, slot *ret);
err_kind native_ts_of_last(const native_window *w, slot *ret);
err_kind native_ts_of_first(const native_window *w, slot *ret);
/* A function that only knows floats: histograms beside them are ignored, and that is said. */
err_kind native_ignored(const native_window *w, window_fn over, slot *ret);
/* Annotations that several places give. */
str metric_part(eval *ev, str name);   /* " for metric name "x"", or nothing where there is none */
void warn_mixed_kinds(const native_window *w);
void warn_mixed_schemas(const native_window *w);
typedef enum combining { COMBINE_AGGREGATION, COMBINE_ADDITION, COMBINE_SUBTRACTION } combining;
/* What a histogram_sum noticed while it was formed. */
void tell_combined(eval *ev, const ast *at, const histogram_sum *s, combining how);
/* The mean of histograms as Prometheus forms it: a sum, or once that overflows a running mean. */
typedef struct histogram_mean { histogram_sum sum, spare; double count; bool only_sum, incremental, saw_reset, saw_no_reset; } histogram_mean;
void histogram_mean_done(histogram_mean *m);
CHECKED err_kind histogram_mean_add(histogram_mean *m, const histogram *h);  /* ERR_INVALID, ERR_NOMEM as histogram_sum_add */
histogram *histogram_mean_value(histogram_mean *m, arena *a);                /* the mean, or the sum if `only_sum` */
void histogram_mean_tell(const histogram_mean *m, eval *ev, const ast *at);

/* extended.c: anchored and smoothed selectors */
err_kind extended_rate(const native_window *w, bool counter, bool per_second, slot *ret);
/* The value between two samples; `left_edge` decides what a counter reset between them means. ERR_INVALID: their buckets
 * do not fit; ERR_NOMEM. */
CHECKED err_kind extended_between(arena *a, const histogram_sample *from, const histogram_sample *to, int64_t t_ms, bool counter, bool left_edge, const histogram **ret);

/* math.c */
double math_sgn(double v);
double math_deg(double v);
double math_rad(double v);
err_kind call_round(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_clamp(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_clamp_min(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_clamp_max(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_min_of(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_max_of(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_pi(eval *ev, const ast *call, const grid *g, value *ret);

/* time.c */
err_kind call_time(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_timestamp(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_start_timestamp(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_query_start(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_query_end(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_query_step(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_query_range(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_date(eval *ev, const ast *call, const grid *g, value *ret);   /* year(), hour() … by the row's name */

/* label.c */
err_kind call_label_replace(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_label_join(eval *ev, const ast *call, const grid *g, value *ret);

/* vector.c */
err_kind call_vector(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_scalar(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_absent(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_absent_over_time(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_sort(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_sort_desc(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_sort_by_label(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_sort_by_label_desc(eval *ev, const ast *call, const grid *g, value *ret);

/* info.c */
err_kind call_info(eval *ev, const ast *call, const grid *g, value *ret);

/* llm.c: galen's own */
err_kind call_slo_burn(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_forecast(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_llm_goodput(eval *ev, const ast *call, const grid *g, value *ret);

/* histogram.c */
err_kind call_histogram_number(eval *ev, const ast *call, const grid *g, value *ret); /* histogram_count() … by the row's name */
err_kind call_histogram_quantile(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_histogram_quantiles(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_histogram_fraction(eval *ev, const ast *call, const grid *g, value *ret);
