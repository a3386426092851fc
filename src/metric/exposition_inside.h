/* metric/exposition_inside.h - what exposition.c and exposition_proto.c share. */
#pragma once
#include "metric/metric.h"

#define EXPOSITION_MAX_FAMILIES 100000
#define EXPOSITION_SCRATCH_BYTES (4u << 20)

/* Where the reader of protobuf stands: docs of the messages are in exposition_proto.c. */
typedef struct proto_place {
    str rest;                 /* families not read yet */
    str metrics, metric;      /* of this family, not read yet; the one being read */
    str name; metric_type type;
    int64_t t_ms; bool has_time;
    str value;                /* its Counter, Gauge, Summary, Untyped or Histogram */
    uint32_t value_number;
    unsigned step;            /* the part of it that comes next: native histogram, buckets, sum, count */
    str parts;                /* of it, its buckets or quantiles not read yet */
    int64_t created_ms; double last_bound;
    bool native, classic;     /* what histograms are read as … */
    bool is_native, is_classic; /* … and this one */
    const char *suffix;       /* of the last line's name … */
    const char *extra_name; char extra[40]; /* … and its le or quantile */
    str exemplars[16]; unsigned exemplar_count;
    buf key;
    arena *histograms;
} proto_place;

struct exposition_parser {
    str rest; /* not read yet */
    const char *line_start;
    uint32_t line;
    bool openmetrics, ended;
    str text;              /* all of it */
    str expected;          /* the series that the next line may begin with */
    const uint64_t *known; /* hashes of the comments the caller has read before; NULL: read them */
    size_t known_count, comment;
    vec(uint64_t) hashes; /* of the comments that were read */
    str series;           /* of the last line */
    str exemplar;         /* behind it: {labels} value [time] */
    label at[LABELS_MAX];
    arena scratch; /* unescaped label values of the last line */
    arena keep;    /* unescaped help texts */
    map families;  /* name -> index + 1 */
    vec(exposition_meta) metas;
    proto_place *proto;       /* NULL: text */
};

/* Shared by the readers of text and of protobuf. */
exposition_meta *exposition_family(exposition_parser *p, str name);   /* NULL: too many, or no memory */
/* A bucket's bound or a quantile as OpenMetrics spells it: 1.0, 0.5, +Inf. */
size_t exposition_format_bound(char out[NUM_DOUBLE_MAX + 2], double v);
void exposition_normalise(label *at, size_t n, metric_type type, arena *a);
exposition_parser *proto_start(exposition_parser *p, str body, arena *a);
void proto_end(exposition_parser *p);
int proto_next_line(exposition_parser *p, exposition_line *ret, err *e);
err_kind proto_labels(exposition_parser *p, labels *ret, metric_type *ret_type, err *e);
err_kind proto_exemplar(exposition_parser *p, unsigned i, arena *a, exemplar *ret, err *e);
