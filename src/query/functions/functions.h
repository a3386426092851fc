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
err_kind call_native_only(eval *ev, const ast *call, const grid *g, value *ret); /* nothing, for plain numbers */

/* llm.c: galen's own */
err_kind call_slo_burn(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_forecast(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_llm_goodput(eval *ev, const ast *call, const grid *g, value *ret);

/* histogram.c */
err_kind call_histogram_quantile(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_histogram_quantiles(eval *ev, const ast *call, const grid *g, value *ret);
err_kind call_histogram_fraction(eval *ev, const ast *call, const grid *g, value *ret);
