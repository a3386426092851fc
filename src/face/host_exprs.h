/* face/host_exprs.h - the host's vitals as PromQL, one row a number: the same text draws the sparkline, fills the
 * overview, and opens in the query tab. */
#pragma once
#include "base/base.h"

typedef struct host_expr {
    const char *key;     /* in the overview's `host`; unit last */
    const char *expr;    /* $host: the matchers of this host; $window: of a rate */
} host_expr;
extern const host_expr host_exprs[];
extern const size_t host_expr_count;

/* Rates look back this far; the second is for hosts that are read less often than each second. */
#define HOST_WINDOW "5s"
#define HOST_WINDOW_WIDE "1m"

/* `expr` with its two words filled in; *out is replaced. */
err_kind host_expr_fill(const char *expr, str host_matchers, const char *window, buf *out);
bool host_expr_has_window(const char *expr);
