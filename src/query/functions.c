/* The functions of PromQL: one row each, sorted by name. https://prometheus.io/docs/prometheus/latest/querying/functions/ */
#include "query/functions/functions.h"

const function_row function_rows[] = { /* name, argument types, how many, how many of them may be missing (-1: the last repeats), result */
    { "abs", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .math = fabs, .help = "absolute value" },
    { "absent", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .call = call_absent, .help = "1 if the vector is empty" },
    { "absent_over_time", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .call = call_absent_over_time, .help = "1 if there is no sample in the window" },
    { "acos", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .math = acos, .help = "arc cosine, radians" },
    { "acosh", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .math = acosh, .help = "inverse hyperbolic cosine" },
    { "asin", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .math = asin, .help = "arc sine, radians" },
    { "asinh", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .math = asinh, .help = "inverse hyperbolic sine" },
    { "atan", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .math = atan, .help = "arc tangent, radians" },
    { "atanh", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .math = atanh, .help = "inverse hyperbolic tangent" },
    { "avg_over_time", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .over = over_avg, .help = "mean of the samples in the window" },
    { "ceil", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .math = ceil, .help = "round up to an integer" },
    { "changes", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .over = over_changes, .help = "how often the value changed in the window" },
    { "clamp", { PROMQL_VECTOR, PROMQL_SCALAR, PROMQL_SCALAR }, 3, 0, PROMQL_VECTOR, .call = call_clamp, .help = "keep values between a lower and an upper bound" },
    { "clamp_max", { PROMQL_VECTOR, PROMQL_SCALAR }, 2, 0, PROMQL_VECTOR, .call = call_clamp_max, .help = "keep values at or below a bound" },
    { "clamp_min", { PROMQL_VECTOR, PROMQL_SCALAR }, 2, 0, PROMQL_VECTOR, .call = call_clamp_min, .help = "keep values at or above a bound" },
    { "cos", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .math = cos, .help = "cosine of radians" },
    { "cosh", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .math = cosh, .help = "hyperbolic cosine" },
    { "count_over_time", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .over = over_count, .help = "number of samples in the window" },
    { "day_of_month", { PROMQL_VECTOR }, 1, 1, PROMQL_VECTOR, .call = call_date, .time_dependent = true, .help = "day of the month, 1 to 31, UTC" },
    { "day_of_week", { PROMQL_VECTOR }, 1, 1, PROMQL_VECTOR, .call = call_date, .time_dependent = true, .help = "day of the week, 0 is Sunday, UTC" },
    { "day_of_year", { PROMQL_VECTOR }, 1, 1, PROMQL_VECTOR, .call = call_date, .time_dependent = true, .help = "day of the year, from 1, UTC" },
    { "days_in_month", { PROMQL_VECTOR }, 1, 1, PROMQL_VECTOR, .call = call_date, .time_dependent = true, .help = "how many days the month has, UTC" },
    { "deg", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .math = math_deg, .help = "radians to degrees" },
    { "delta", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .over = over_delta, .help = "difference over the window, extrapolated, for gauges" },
    { "deriv", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .over = over_deriv, .help = "slope per second by linear regression, for gauges" },
    { "double_exponential_smoothing", { PROMQL_MATRIX, PROMQL_SCALAR, PROMQL_SCALAR }, 3, 0, PROMQL_VECTOR, .over = over_smoothing, .check = check_smoothing, .experimental = true, .help = "level after smoothing value and trend (Holt)" },
    { "end", { 0 }, 0, 0, PROMQL_SCALAR, .call = call_query_end, .experimental = true, .help = "where the whole query ends, Unix seconds" },
    { "exp", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .math = exp, .help = "e to the power of the value" },
    { "first_over_time", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .over = over_first, .keeps_name = true, .help = "oldest sample in the window" },
    { "floor", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .math = floor, .help = "round down to an integer" },
    { "forecast", { PROMQL_MATRIX, PROMQL_SCALAR, PROMQL_STRING }, 3, 1, PROMQL_VECTOR, .call = call_forecast, .help = "galen: value so many seconds ahead by linear regression, with a 95 % interval" },
    { "histogram_avg", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .call = call_native_only, .help = "mean of the observations of native histograms" },
    { "histogram_count", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .call = call_native_only, .help = "observations in native histograms" },
    { "histogram_fraction", { PROMQL_SCALAR, PROMQL_SCALAR, PROMQL_VECTOR }, 3, 0, PROMQL_VECTOR, .call = call_histogram_fraction, .help = "share of the observations between two bounds" },
    { "histogram_quantile", { PROMQL_SCALAR, PROMQL_VECTOR }, 2, 0, PROMQL_VECTOR, .call = call_histogram_quantile, .help = "quantile from the buckets of a histogram" },
    { "histogram_quantiles", { PROMQL_VECTOR, PROMQL_STRING, PROMQL_SCALAR }, 3, -1, PROMQL_VECTOR, .call = call_histogram_quantiles, .experimental = true, .help = "several quantiles of one histogram, told apart by a label" },
    { "histogram_stddev", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .call = call_native_only, .help = "standard deviation of native histograms" },
    { "histogram_stdvar", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .call = call_native_only, .help = "variance of native histograms" },
    { "histogram_sum", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .call = call_native_only, .help = "sum of the observations of native histograms" },
    { "hour", { PROMQL_VECTOR }, 1, 1, PROMQL_VECTOR, .call = call_date, .time_dependent = true, .help = "hour of the day, UTC" },
    { "idelta", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .over = over_idelta, .help = "difference of the last two samples" },
    { "increase", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .over = over_increase, .counter = true, .help = "growth of a counter over the window, extrapolated" },
    { "irate", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .over = over_irate, .help = "growth per second between the last two samples" },
    { "label_join", { PROMQL_VECTOR, PROMQL_STRING, PROMQL_STRING, PROMQL_STRING }, 4, -1, PROMQL_VECTOR, .call = call_label_join, .help = "join label values into a label" },
    { "label_replace", { PROMQL_VECTOR, PROMQL_STRING, PROMQL_STRING, PROMQL_STRING, PROMQL_STRING }, 5, 0, PROMQL_VECTOR, .call = call_label_replace, .help = "make a label from another by a regular expression" },
    { "last_over_time", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .over = over_last, .keeps_name = true, .help = "newest sample in the window" },
    { "llm_goodput", { PROMQL_SCALAR, PROMQL_SCALAR, PROMQL_VECTOR, PROMQL_VECTOR, PROMQL_STRING }, 5, 1, PROMQL_VECTOR, .call = call_llm_goodput, .help = "galen: requests per second within limits on TTFT and ITL, from rates of their buckets" },
    { "ln", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .math = log, .help = "natural logarithm" },
    { "log10", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .math = log10, .help = "decimal logarithm" },
    { "log2", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .math = log2, .help = "binary logarithm" },
    { "mad_over_time", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .over = over_mad, .experimental = true, .help = "median absolute deviation in the window" },
    { "max_of", { PROMQL_SCALAR, PROMQL_SCALAR }, 2, 0, PROMQL_SCALAR, .call = call_max_of, .experimental = true, .help = "the larger of two scalars" },
    { "max_over_time", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .over = over_max, .help = "largest sample in the window" },
    { "min_of", { PROMQL_SCALAR, PROMQL_SCALAR }, 2, 0, PROMQL_SCALAR, .call = call_min_of, .experimental = true, .help = "the smaller of two scalars" },
    { "min_over_time", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .over = over_min, .help = "smallest sample in the window" },
    { "minute", { PROMQL_VECTOR }, 1, 1, PROMQL_VECTOR, .call = call_date, .time_dependent = true, .help = "minute of the hour, UTC" },
    { "month", { PROMQL_VECTOR }, 1, 1, PROMQL_VECTOR, .call = call_date, .time_dependent = true, .help = "month, 1 to 12, UTC" },
    { "pi", { 0 }, 0, 0, PROMQL_SCALAR, .call = call_pi, .help = "the number pi" },
    { "predict_linear", { PROMQL_MATRIX, PROMQL_SCALAR }, 2, 0, PROMQL_VECTOR, .over = over_predict_linear, .time_dependent = true, .help = "value in so many seconds by linear regression" },
    { "present_over_time", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .over = over_present, .help = "1 for every series with a sample in the window" },
    { "quantile_over_time", { PROMQL_SCALAR, PROMQL_MATRIX }, 2, 0, PROMQL_VECTOR, .over = over_quantile, .check = check_quantile, .help = "quantile of the samples in the window" },
    { "rad", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .math = math_rad, .help = "degrees to radians" },
    { "range", { 0 }, 0, 0, PROMQL_SCALAR, .call = call_query_range, .experimental = true, .help = "length of the whole query, seconds" },
    { "rate", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .over = over_rate, .counter = true, .help = "growth of a counter per second over the window, extrapolated" },
    { "resets", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .over = over_resets, .help = "how often a counter fell in the window" },
    { "round", { PROMQL_VECTOR, PROMQL_SCALAR }, 2, 1, PROMQL_VECTOR, .call = call_round, .help = "round to the nearest multiple (default 1)" },
    { "scalar", { PROMQL_VECTOR }, 1, 0, PROMQL_SCALAR, .call = call_scalar, .help = "the value of a vector of one, else NaN" },
    { "sgn", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .math = math_sgn, .help = "sign: -1, 0 or 1" },
    { "sin", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .math = sin, .help = "sine of radians" },
    { "sinh", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .math = sinh, .help = "hyperbolic sine" },
    { "slo_burn", { PROMQL_VECTOR, PROMQL_SCALAR }, 2, 0, PROMQL_VECTOR, .call = call_slo_burn, .help = "galen: how many times faster than allowed the error budget is spent" },
    { "sort", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .call = call_sort, .help = "smallest first, for instant queries" },
    { "sort_by_label", { PROMQL_VECTOR, PROMQL_STRING }, 2, -1, PROMQL_VECTOR, .call = call_sort_by_label, .experimental = true, .help = "in natural order of labels, for instant queries" },
    { "sort_by_label_desc", { PROMQL_VECTOR, PROMQL_STRING }, 2, -1, PROMQL_VECTOR, .call = call_sort_by_label_desc, .experimental = true, .help = "the same backwards" },
    { "sort_desc", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .call = call_sort_desc, .help = "largest first, for instant queries" },
    { "sqrt", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .math = sqrt, .help = "square root" },
    { "start", { 0 }, 0, 0, PROMQL_SCALAR, .call = call_query_start, .experimental = true, .help = "where the whole query starts, Unix seconds" },
    { "stddev_over_time", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .over = over_stddev, .help = "population standard deviation in the window" },
    { "stdvar_over_time", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .over = over_stdvar, .help = "population variance in the window" },
    { "step", { 0 }, 0, 0, PROMQL_SCALAR, .call = call_query_step, .experimental = true, .help = "step of the whole query, seconds; 0 for an instant" },
    { "sum_over_time", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .over = over_sum, .help = "sum of the samples in the window" },
    { "tan", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .math = tan, .help = "tangent of radians" },
    { "tanh", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .math = tanh, .help = "hyperbolic tangent" },
    { "time", { 0 }, 0, 0, PROMQL_SCALAR, .call = call_time, .time_dependent = true, .help = "time of the evaluation, Unix seconds" },
    { "timestamp", { PROMQL_VECTOR }, 1, 0, PROMQL_VECTOR, .call = call_timestamp, .time_dependent = true, .help = "when each sample was taken, Unix seconds" },
    { "ts_of_first_over_time", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .over = over_ts_of_first, .experimental = true, .help = "when the oldest sample in the window was taken" },
    { "ts_of_last_over_time", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .over = over_ts_of_last, .experimental = true, .help = "when the newest sample in the window was taken" },
    { "ts_of_max_over_time", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .over = over_ts_of_max, .experimental = true, .help = "when the last largest sample in the window was taken" },
    { "ts_of_min_over_time", { PROMQL_MATRIX }, 1, 0, PROMQL_VECTOR, .over = over_ts_of_min, .experimental = true, .help = "when the last smallest sample in the window was taken" },
    { "vector", { PROMQL_SCALAR }, 1, 0, PROMQL_VECTOR, .call = call_vector, .help = "a scalar as a vector without labels" },
    { "year", { PROMQL_VECTOR }, 1, 1, PROMQL_VECTOR, .call = call_date, .time_dependent = true, .help = "year, UTC" },
};
const size_t function_row_count = COUNT_OF(function_rows);

const function_row *function_find(str name)
{
    size_t low = 0, high = function_row_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int c = str_cmp(name, str_from(function_rows[middle].name));
        if (c == 0)
            return &function_rows[middle];
        if (c < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
