/* bench/store/fleet.h - the simulated fleet: what its nodes measure, step by step, and how a series is labelled.
 *
 * Part of loadgen.c, which includes it once. Values depend only on the seed. */
#pragma once
/* ------------------------------------------------------------------- rng */

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t next(uint64_t *s) { return mix(*s += 0x9e3779b97f4a7c15u); }
static double uni(uint64_t *s) { return (double)(next(s) >> 11) * 0x1p-53; }

static double noise(uint64_t *s)        /* about +-1 */
{
    double x = uni(s);                  /* one call a statement: C leaves the order open */
    x += uni(s);
    x += uni(s);
    return x - 1.5;
}

/* -------------------------------------------------------------- the fleet */

enum kind {
    K_CONST,    /* a: value for ever */
    K_RARE,     /* integer gauge around a, moves by up to b on 1 step in 50 */
    K_INT,      /* integer gauge, a * load with noise b, not below 0 */
    K_FLOAT,    /* float gauge, random walk to a * load, noise b, full precision */
    K_FLOAT3,   /* the same with 3 decimals, as a power meter reports */
    K_PAGES,    /* bytes in 4096 pages around a, noise b */
    K_COUNT,    /* integer counter, a per second times load, noise */
    K_CPU,      /* counter of seconds with 2 decimals, a per second times load */
    K_RARECNT,  /* integer counter that moves on 1 step in 100 */
    K_HIST      /* first bucket of a histogram; its other series follow */
};

enum group { G_VLLM, G_GPU, G_HOST };

struct series {                 /* one of the 380 series that each node has */
    const char *name;           /* metric name */
    char        lab[4][2][40];  /* own labels: name, value; empty name ends */
    enum group  group;
    enum kind   kind;
    double      a, b;
    int         hist;           /* K_HIST: which histogram */
    int         type;           /* 0 gauge, 1 counter, 2 histogram; -1: in an earlier TYPE */
};

static struct series tmpl[NODE_SERIES];
static int ntmpl;

static const char *const models[] = {
    "meta-llama/Llama-3.1-70B-Instruct", "Qwen/Qwen2.5-32B-Instruct",
    "mistralai/Mistral-Small-24B-Instruct-2501", "deepseek-ai/DeepSeek-R1-Distill-Llama-70B",
    "google/gemma-2-27b-it", "microsoft/phi-4" };
enum { NMODELS = sizeof models / sizeof *models };

/* The four request histograms of the vLLM-like server. */
static const struct {
    const char *name;
    const char *le[24];
    double median, sigma;       /* log-normal shape of the observations */
    double per_request;         /* observations for each request */
} hists[] = {
    { "vllm:time_to_first_token_seconds",
      { "0.001", "0.005", "0.01", "0.02", "0.04", "0.06", "0.08", "0.1", "0.25", "0.5", "0.75",
        "1.0", "2.5", "5.0", "7.5", "10.0", "20.0", "40.0", "80.0", "160.0", "640.0", "2560.0",
        "+Inf" }, 0.18, 0.9, 1 },
    { "vllm:inter_token_latency_seconds",
      { "0.01", "0.025", "0.05", "0.075", "0.1", "0.15", "0.2", "0.3", "0.4", "0.5", "0.75",
        "1.0", "2.5", "5.0", "7.5", "10.0", "20.0", "40.0", "80.0", "+Inf" }, 0.03, 0.5, 220 },
    { "vllm:e2e_request_latency_seconds",
      { "0.3", "0.5", "0.8", "1.0", "1.5", "2.0", "2.5", "5.0", "10.0", "15.0", "20.0", "30.0",
        "40.0", "50.0", "60.0", "120.0", "240.0", "480.0", "960.0", "1920.0", "7680.0", "+Inf" },
      7.0, 0.8, 1 },
    { "vllm:request_queue_time_seconds",
      { "0.3", "0.5", "0.8", "1.0", "1.5", "2.0", "2.5", "5.0", "10.0", "15.0", "20.0", "30.0",
        "40.0", "50.0", "60.0", "120.0", "240.0", "480.0", "960.0", "1920.0", "7680.0", "+Inf" },
      0.2, 1.2, 1 },
};
enum { NHIST = sizeof hists / sizeof *hists };

static int      hist_n[NHIST];                          /* buckets, with +Inf */
static uint8_t  hist_bucket[NHIST][HIST_LEVELS][HIST_Q];/* quantile -> bucket */
static double   hist_value[NHIST][HIST_LEVELS][HIST_Q]; /* quantile -> observed value */

static struct series *add(const char *name, enum group g, enum kind k, double a, double b, int type)
{
    if (ntmpl == NODE_SERIES) die("too many series in a node");
    struct series *s = &tmpl[ntmpl++];
    *s = (struct series){ .name = name, .group = g, .kind = k, .a = a, .b = b, .type = type };
    return s;
}

static struct series *lab(struct series *s, const char *name, const char *fmt, ...)
{
    int i = 0;
    while (s->lab[i][0][0]) i++;
    va_list ap;
    va_start(ap, fmt);
    snprintf(s->lab[i][0], sizeof s->lab[i][0], "%s", name);
    vsnprintf(s->lab[i][1], sizeof s->lab[i][1], fmt, ap);
    va_end(ap);
    return s;
}

/* Value below which a share q of a standard normal lies (bisection; only at start). */
static double probit(double q)
{
    double lo = -8, hi = 8;
    for (int i = 0; i < 60; i++) {
        double m = (lo + hi) / 2;
        if (0.5 * erfc(-m / sqrt(2)) < q) lo = m; else hi = m;
    }
    return lo;
}

static char *join(const char *a, const char *b)
{
    char *s = need(malloc(strlen(a) + strlen(b) + 1));
    return strcat(strcpy(s, a), b);
}

static void build_templates(void)
{
    /* vLLM: 4 histograms (95 series) + 25 */
    for (int h = 0; h < NHIST; h++) {
        char *bucket = join(hists[h].name, "_bucket");
        int n = 0;
        for (; n < 24 && hists[h].le[n]; n++) {
            struct series *s = add(bucket, G_VLLM, K_HIST, 0, 0, n ? -1 : 2);
            lab(s, "le", "%s", hists[h].le[n]);
            s->hist = h;
        }
        hist_n[h] = n;
        add(join(hists[h].name, "_sum"), G_VLLM, K_HIST, 0, 0, -1);
        add(join(hists[h].name, "_count"), G_VLLM, K_HIST, 0, 0, -1);
        for (int l = 0; l < HIST_LEVELS; l++)
            for (int q = 0; q < HIST_Q; q++) {
                double x = hists[h].median * (1 + 0.6 * l) *
                           exp(hists[h].sigma * probit((q + 0.5) / HIST_Q));
                int b = 0;
                while (b < n - 1 && x > atof(hists[h].le[b])) b++;
                hist_bucket[h][l][q] = (uint8_t)b;
                hist_value[h][l][q] = x;
            }
    }
    add("vllm:num_requests_running", G_VLLM, K_INT, 40, 12, 0);
    add("vllm:num_requests_waiting", G_VLLM, K_RARE, 1, 3, 0);
    add("vllm:num_requests_swapped", G_VLLM, K_CONST, 0, 0, 0);
    add("vllm:kv_cache_usage_perc", G_VLLM, K_FLOAT, 0.6, 0.08, 0);
    add("vllm:gpu_prefix_cache_hit_rate", G_VLLM, K_FLOAT, 0.4, 0.03, 0);
    add("vllm:prompt_tokens_total", G_VLLM, K_COUNT, 4000, 0, 1);
    add("vllm:generation_tokens_total", G_VLLM, K_COUNT, 1100, 0, 1);
    add("vllm:num_preemptions_total", G_VLLM, K_RARECNT, 2, 0, 1);
    add("vllm:prefix_cache_queries_total", G_VLLM, K_COUNT, 4000, 0, 1);
    add("vllm:prefix_cache_hits_total", G_VLLM, K_COUNT, 1500, 0, 1);
    lab(add("vllm:request_success_total", G_VLLM, K_COUNT, 4, 0, 1), "finished_reason", "stop");
    lab(add("vllm:request_success_total", G_VLLM, K_COUNT, 0.8, 0, -1), "finished_reason", "length");
    lab(add("vllm:request_success_total", G_VLLM, K_RARECNT, 1, 0, -1), "finished_reason", "abort");
    add("vllm:cache_config_info", G_VLLM, K_CONST, 1, 0, 0);
    add("vllm:lora_requests_info", G_VLLM, K_CONST, 1, 0, 0);
    add("process_cpu_seconds_total", G_VLLM, K_CPU, 1.4, 0, 1);
    add("process_resident_memory_bytes", G_VLLM, K_PAGES, 9e9, 2e6, 0);
    add("process_virtual_memory_bytes", G_VLLM, K_CONST, 143212343296., 0, 0);
    add("process_open_fds", G_VLLM, K_RARE, 120, 8, 0);
    add("process_max_fds", G_VLLM, K_CONST, 1048576, 0, 0);
    add("process_start_time_seconds", G_VLLM, K_CONST, 1699990000.37, 0, 0);
    lab(add("http_requests_total", G_VLLM, K_COUNT, 5, 0, 1), "status", "2xx");
    lab(add("http_requests_total", G_VLLM, K_RARECNT, 1, 0, -1), "status", "4xx");
    lab(add("python_gc_collections_total", G_VLLM, K_RARECNT, 1, 0, 1), "generation", "0");
    add("vllm:engine_sleep_state", G_VLLM, K_CONST, 0, 0, 0);

    /* GPU: 15 metrics x 4 GPUs */
    static const struct { const char *name; enum kind k; double a, b; int type; } gpu[15] = {
        { "DCGM_FI_DEV_GPU_UTIL", K_INT, 85, 12, 0 },
        { "DCGM_FI_DEV_MEM_COPY_UTIL", K_INT, 45, 10, 0 },
        { "DCGM_FI_DEV_FB_USED", K_RARE, 74213, 64, 0 },
        { "DCGM_FI_DEV_FB_FREE", K_RARE, 6841, 64, 0 },
        { "DCGM_FI_DEV_POWER_USAGE", K_FLOAT3, 520, 60, 0 },
        { "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", K_COUNT, 520000, 0, 1 },
        { "DCGM_FI_DEV_GPU_TEMP", K_RARE, 61, 3, 0 },
        { "DCGM_FI_DEV_MEMORY_TEMP", K_RARE, 72, 3, 0 },
        { "DCGM_FI_DEV_SM_CLOCK", K_RARE, 1980, 15, 0 },
        { "DCGM_FI_DEV_MEM_CLOCK", K_CONST, 2619, 0, 0 },
        { "DCGM_FI_DEV_XID_ERRORS", K_CONST, 0, 0, 0 },
        { "DCGM_FI_DEV_PCIE_REPLAY_COUNTER", K_CONST, 0, 0, 1 },
        { "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL", K_COUNT, 9e6, 0, 1 },
        { "DCGM_FI_PROF_GR_ENGINE_ACTIVE", K_FLOAT, 0.8, 0.1, 0 },
        { "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", K_FLOAT, 0.35, 0.1, 0 },
    };
    for (int m = 0; m < 15; m++)
        for (int g = 0; g < 4; g++)
            lab(lab(add(gpu[m].name, G_GPU, gpu[m].k, gpu[m].a, gpu[m].b, g ? -1 : gpu[m].type),
                    "gpu", "%d", g), "device", "nvidia%d", g);

    /* host: 128 cpu + 20 memory + 24 disk + 18 net + 3 filesystem + 3 load + 4 other */
    static const struct { const char *mode; double rate; } modes[8] = {
        { "idle", 0.6 }, { "user", 0.25 }, { "system", 0.08 }, { "iowait", 0.01 },
        { "irq", 0 }, { "softirq", 0.01 }, { "nice", 0 }, { "steal", 0 } };
    for (int c = 0; c < 16; c++)
        for (int m = 0; m < 8; m++)
            lab(lab(add("node_cpu_seconds_total", G_HOST, modes[m].rate > 0 ? K_CPU : K_CONST,
                        modes[m].rate, 0, c + m ? -1 : 1),
                    "cpu", "%d", c), "mode", "%s", modes[m].mode);
    static const char *const mem[20] = {
        "MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SwapCached", "Active",
        "Inactive", "Dirty", "Writeback", "AnonPages", "Mapped", "Shmem", "Slab", "SReclaimable",
        "SUnreclaim", "KernelStack", "PageTables", "HugePages_Total", "SwapTotal" };
    for (int i = 0; i < 20; i++) {
        bool fixed = i == 0 || i >= 18 || i == 5;
        char *n = join(join("node_memory_", mem[i]), "_bytes");
        add(n, G_HOST, fixed ? K_CONST : K_PAGES, fixed ? (i ? 0 : 1.08e12) : 2e9 * (i + 1), 4e6, 0);
    }
    static const char *const disk[8] = {
        "node_disk_read_bytes_total", "node_disk_written_bytes_total",
        "node_disk_reads_completed_total", "node_disk_writes_completed_total",
        "node_disk_io_time_seconds_total", "node_disk_read_time_seconds_total",
        "node_disk_write_time_seconds_total", "node_disk_io_now" };
    static const double diskrate[8] = { 40960, 409600, 3, 25, 0.05, 0.02, 0.1, 0 };
    for (int i = 0; i < 8; i++)
        for (int d = 0; d < 3; d++)
            lab(add(disk[i], G_HOST, i == 7 ? K_RARE : i >= 4 ? K_CPU : K_COUNT, diskrate[i],
                    2, d ? -1 : i != 7), "device", "nvme%dn1", d);
    static const char *const net[6] = {
        "node_network_receive_bytes_total", "node_network_transmit_bytes_total",
        "node_network_receive_packets_total", "node_network_transmit_packets_total",
        "node_network_receive_errs_total", "node_network_transmit_errs_total" };
    static const double netrate[6] = { 900000, 2500000, 900, 1800, 0, 0 };
    for (int i = 0; i < 6; i++)
        for (int d = 0; d < 3; d++)
            lab(add(net[i], G_HOST, i >= 4 ? K_CONST : K_COUNT, netrate[i], 0, d ? -1 : 1),
                "device", "eth%d", d);
    for (int d = 0; d < 3; d++)
        lab(add("node_filesystem_avail_bytes", G_HOST, K_PAGES, 8e11, 1e6, d ? -1 : 0),
            "mountpoint", "/mnt/%d", d);
    add("node_load1", G_HOST, K_FLOAT3, 12, 3, 0);
    add("node_load5", G_HOST, K_FLOAT3, 12, 1, 0);
    add("node_load15", G_HOST, K_FLOAT3, 12, 0.4, 0);
    add("node_boot_time_seconds", G_HOST, K_CONST, 1699000000, 0, 0);
    add("node_context_switches_total", G_HOST, K_COUNT, 42000, 0, 1);
    add("node_procs_running", G_HOST, K_INT, 14, 5, 0);
    add("node_filefd_allocated", G_HOST, K_RARE, 9312, 96, 0);
    if (ntmpl != NODE_SERIES) die("a node has %d series, not %d", ntmpl, NODE_SERIES);
}

struct node {
    long      id;
    double    v[NODE_SERIES];       /* newest values */
    long      steps;                /* steps generated so far */
    double   *past;                 /* opt.pack x NODE_SERIES values of this request */
    uint8_t  *enc;                  /* protobuf of every series' labels */
    uint32_t  end[NODE_SERIES + 1]; /* series i: enc[end[i]] .. enc[end[i+1]] */
    pthread_mutex_t lock;           /* target mode */
};

static double clamp0(double x) { return x < 0 ? 0 : x; }

/* Make the node's next values. */
static void node_step(struct node *n)
{
    long step = n->steps++;
    double t = (double)step * opt.interval, dt = opt.interval;
    uint64_t nr = mix(opt.seed * 0x9e3779b97f4a7c15u + (uint64_t)n->id + 1); /* the node's own */
    uint64_t r = mix(nr ^ ((uint64_t)step + 1) * 0xd1b54a32d192ed03u);
    double *v = n->v;
    bool first = step == 0;

    /* Traffic: daily wave by model, a ten-minute wave, noise; 1 node in 8 is idle. */
    bool idle = nr % 8 == 0;
    double wave = 0.7 + 0.3 * sin(t / 86400 * 6.283 + (double)(n->id % NMODELS)) +
                  0.15 * sin(t / 600 * 6.283 + (double)(nr % 64));
    double load = idle ? 0 : clamp0(wave + 0.1 * noise(&r));
    double reqs = 5 * load * dt;
    int nreq = (int)(reqs + uni(&r));
    int level = load > 1.05 ? 2 : load > 0.85 ? 1 : 0;
    if (nr % 19 == 3) level++;                       /* a slow node */

    for (int i = 0; i < NODE_SERIES; i++) {
        const struct series *s = &tmpl[i];
        switch (s->kind) {
        case K_CONST:
            v[i] = s->a;
            break;
        case K_RARE: {
            uint64_t x = next(&r);
            if (first) v[i] = s->a;
            else if (x % 50 == 0)
                v[i] = clamp0(s->a + (double)((int64_t)((x >> 8) % (uint64_t)(2 * s->b + 1)) - (int64_t)s->b));
            break;
        }
        case K_INT:
            v[i] = clamp0(floor(s->a * load + s->b * noise(&r) * (idle ? 0 : 1)));
            break;
        case K_FLOAT:
            if (first) v[i] = s->a * load;
            v[i] = clamp0(v[i] + 0.1 * (s->a * load - v[i]) + 0.3 * s->b * noise(&r) * (idle ? 0 : 1));
            break;
        case K_FLOAT3:
            if (first) v[i] = s->a * load;
            v[i] = round(clamp0(v[i] + 0.1 * (s->a * (0.2 + load) - v[i]) + 0.3 * s->b * noise(&r)) * 1000) / 1000;
            break;
        case K_PAGES:
            v[i] = 4096 * floor((s->a + s->b * noise(&r)) / 4096);
            break;
        case K_COUNT: {
            if (first) v[i] = floor(s->a * 1e4 * uni(&r));
            double add = s->a * dt * load * (0.8 + 0.4 * uni(&r));
            v[i] += floor(add + uni(&r) * (idle ? 0 : 1));
            break;
        }
        case K_CPU:
            if (first) v[i] = floor(s->a * 1e7 * uni(&r)) / 100;
            v[i] = round((v[i] + s->a * dt * (0.4 + 0.4 * load) * (0.8 + 0.4 * uni(&r))) * 100) / 100;
            break;
        case K_RARECNT: {
            uint64_t x = next(&r);
            if (first) v[i] = (double)(x % 1000);
            else if (x % 100 == 0 && !idle) v[i] += 1 + (double)((x >> 8) % (uint64_t)(s->a + 1));
            break;
        }
        case K_HIST: {
            int h = s->hist, nb = hist_n[h];
            double inc[24] = { 0 }, sum = 0, run = 0;
            /* Many observations are drawn as at most 64 groups. */
            double obs = nreq * hists[h].per_request;
            int draws = obs > 256 ? 64 : (int)obs;
            double weight = draws ? floor(obs / draws) : 0;
            for (int d = 0; d < draws; d++) {
                uint64_t x = next(&r);
                int q = (int)(x % HIST_Q);
                inc[hist_bucket[h][level][q]] += weight;
                sum += weight * hist_value[h][level][q] * (0.95 + 0.1 * (double)(x >> 32) * 0x1p-32);
            }
            for (int b = 0; b < nb; b++) v[i + b] += run += inc[b];
            v[i + nb] += sum;
            v[i + nb + 1] += run;
            i += nb + 1;
            break;
        }
        }
    }
}

struct label { const char *name; char value[64]; };

static const char *const job[] = { "vllm", "dcgm", "node" };
static const int port[] = { 8000, 9400, 9100 };

/* All labels of one series.  A scraper adds job and instance itself. */
static int labels_of(const struct node *n, int i, bool remote, struct label *out)
{
    const struct series *s = &tmpl[i];
    int k = 0;
#define LABEL(NAME, ...) (out[k].name = (NAME), snprintf(out[k++].value, sizeof out[0].value, __VA_ARGS__))
    if (remote) {
        LABEL("__name__", "%s", s->name);
        LABEL("job", "%s", job[s->group]);
        LABEL("instance", "10.%ld.%ld.%ld:%d", n->id >> 16 & 255, n->id >> 8 & 255,
              n->id & 255, port[s->group]);
    }
    LABEL("node", "gpu-%05ld", n->id);
    if (s->group == G_VLLM) {
        LABEL("model_name", "%s", models[n->id % NMODELS]);
        LABEL("engine", "0");
    } else if (s->group == G_GPU) {
        LABEL("UUID", "GPU-%08x-%s", (unsigned)mix((uint64_t)n->id), s->lab[0][1]);
        LABEL("modelName", "NVIDIA H100 80GB HBM3");
    }
    for (int j = 0; j < 4 && s->lab[j][0][0]; j++) LABEL(s->lab[j][0], "%s", s->lab[j][1]);
#undef LABEL
    return k;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct label *)a)->name, ((const struct label *)b)->name);
}

static uint8_t *put_varint(uint8_t *p, uint64_t x)
{
    for (; x > 127; x >>= 7) *p++ = (uint8_t)(x | 128);
    *p++ = (uint8_t)x;
    return p;
}

static uint8_t *put_string(uint8_t *p, int field, const char *s)
{
    size_t n = strlen(s);
    *p++ = (uint8_t)(field << 3 | 2);
    p = put_varint(p, n);
    memcpy(p, s, n);
    return p + n;
}

/* Encode the labels of a node's series once; each request copies them. */
static void node_encode(struct node *n)
{
    static _Thread_local uint8_t tmp[NODE_SERIES * 600];
    uint8_t *p = tmp;
    for (int i = 0; i < NODE_SERIES; i++) {
        struct label l[MAX_LABELS];
        int k = labels_of(n, i, true, l);
        qsort(l, (size_t)k, sizeof *l, by_name);
        n->end[i] = (uint32_t)(p - tmp);
        for (int j = 0; j < k; j++) {
            uint8_t one[160], *q = put_string(put_string(one, 1, l[j].name), 2, l[j].value);
            *p++ = 1 << 3 | 2;
            p = put_varint(p, (uint64_t)(q - one));
            memcpy(p, one, (size_t)(q - one));
            p += q - one;
        }
    }
    n->end[NODE_SERIES] = (uint32_t)(p - tmp);
    n->enc = need(malloc((size_t)(p - tmp)));
    memcpy(n->enc, tmp, (size_t)(p - tmp));
}

static struct node *make_nodes(long *count)
{
    *count = (opt.series + NODE_SERIES - 1) / NODE_SERIES;
    struct node *n = need(calloc((size_t)*count, sizeof *n));
    for (long i = 0; i < *count; i++) {
        n[i].id = i;
        pthread_mutex_init(&n[i].lock, NULL);
    }
    return n;
}
