#include "base/fuzz.h"
#include "metric/metric.h"

FUZZ(input)
{
    for (int openmetrics = 0; openmetrics < 2; openmetrics++) {
        exposition_parser *p = exposition_new(input, openmetrics);
        exposition_sample s;
        err e;
        while (p && exposition_next(p, &s, &e) == 1)
            (void)labels_hash(s.labels);
        exposition_free(p);
    }
}
