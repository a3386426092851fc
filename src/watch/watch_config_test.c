#include "base/test.h"
#include "base/file.h"
#include "watch/watch_config.h"
#include <stdio.h>

typedef struct parsed {
    yaml_doc *doc;
    config file;
    watch_config *c;
    err e;
    err_kind k;
} parsed;

static parsed parse(const char *text)
{
    parsed p = { 0 };
    CHECK_OK(yaml_parse(str_from(text), "galen.yml", &p.doc, &p.e), p.e);
    p.file = (config){ .doc = p.doc,
                       .watch = yaml_get(p.doc->root, "watch"),
                       .gateway = yaml_get(p.doc->root, "gateway"),
                       .dir = "/etc/galen" };
    p.k = watch_config_parse(&p.file, &p.c, &p.e);
    return p;
}

static void done(parsed *p)
{
    watch_config_free(p->c);
    yaml_doc_free(p->doc);
}

TEST(without_any_file_host_and_discovery_are_on)
{
    watch_config *c = NULL;
    err e = { 0 };
    config empty = { 0 };
    CHECK_OK(watch_config_parse(&empty, &c, &e), e);
    CHECK(c->host.enabled && c->host.interval_ms == 1000);
    CHECK(c->discovery.enabled && c->discovery.every_ms == 60000);
    CHECK_EQ(c->replica_count, 0);
    watch_config_host_only_if(c, false);
    CHECK(!c->host.enabled && !c->discovery.enabled);
    watch_config_free(c);
}

TEST(a_replica_gets_its_defaults)
{
    parsed p = parse(
        "watch:\n  replicas:\n  - {name: a, url: 'http://127.0.0.1:8000', job: chat, process: {command: [sleep, '1'], env: {A: b}}, probe: {model: m}}\n"
        "gateway: {listen: '127.0.0.1:9601'}\n");
    CHECK_OK(p.k, p.e);
    const replica_config *r = &p.c->replicas[0];
    CHECK_STR(r->instance, "127.0.0.1:8000");
    CHECK_STR(r->job, "chat");
    CHECK(r->interval_ms == 5000 && r->timeout_ms == 5000 && r->stall_after_ms == 30000);
    CHECK(r->process.enabled && r->process.stop_grace_ms == 10000);
    CHECK(strcmp(r->process.argv[0], "sleep") == 0 && r->process.argv[2] == NULL);
    CHECK(strcmp(r->process.env[0], "A=b") == 0);
    CHECK(r->health.enabled && r->health.every_ms == 10000 && r->health.timeout_ms == 5000);
    CHECK(r->probe.enabled && !r->probe.every_set && r->probe.timeout_ms == 10000);
    CHECK_EQ(p.c->gateway_port, 9601);
    done(&p);
}

TEST(a_replica_scraped_each_second_still_has_two_seconds_to_answer)
{
    parsed p = parse("watch:\n  replicas:\n  - {name: a, url: 'http://127.0.0.1:8000', scrape_interval: 1s}\n");
    AUTO(arena_done) arena a = arena_init(1 << 20);
    target_spec *t;
    size_t n;
    CHECK_OK(p.k, p.e);
    CHECK_OK(scrape_job_targets(&p.c->replicas[0].scrape, &a, &t, &n, &p.e), p.e);
    CHECK(n == 1 && t[0].interval_ms == 1000 && t[0].timeout_ms == 2000);
    CHECK_STR(t[0].url, "http://127.0.0.1:8000/metrics");
    done(&p);
}

TEST(mistakes_are_told_by_name_and_place)
{
    static const struct {
        const char *text, *message;
        uint32_t line;
    } bad[] = {
        { "watch: {replica: []}", "replica", 1 },
        { "watch:\n  replicas:\n  - {name: a}", "url", 3 },
        { "watch:\n  replicas:\n  - {name: a, url: 'localhost:8000'}", "http://host:port", 3 },
        { "watch:\n  replicas:\n  - {name: a, url: 'http://x:1', engine: vlm}", "vlm", 3 },
        { "watch:\n  replicas:\n  - {name: a, url: 'http://x:1', probe: on}", "model", 3 },
        { "watch:\n  replicas:\n  - {name: a, url: 'http://x:1', process: {command: []}}", "command", 3 },
        { "watch:\n  replicas:\n  - name: a\n    url: 'http://x:1'\n    process: {command: 'run me'}",
          "not a shell line", 5 },
        { "watch:\n  replicas:\n  - {name: a, url: 'http://x:1', process: {command: 'a\tb'}}", "command: [", 3 },
        { "watch:\n  replicas:\n  - {name: a, url: 'http://x:1', process: {command: ['']}}", "command is empty", 3 },
        { "watch:\n  replicas:\n  - {name: a, url: 'http://x:1', process: {unit: x.service}}", "not built yet", 3 },
        { "watch:\n  replicas:\n  - {name: a, url: 'http://x:1', process: {command: [a], restart: always}}", "never",
          3 },
        { "watch:\n  replicas:\n  - {name: a, url: 'http://x:1'}\n  - {name: b, url: 'http://x:1', job: a}",
          "job and instance", 4 },
        { "watch:\n  replicas:\n  - {name: a, url: 'http://x:1', process: {command: [a]}}\n"
          "  - {name: b, url: 'http://x:1/', process: {command: [b]}}",
          "starts its engine where \"a\" does", 4 },
        { "watch: {host: maybe}", "host", 1 },
        { "watch:\n  scrape_configs:\n  - {job_name: a, scrape_interval: 1s, scrape_timeout: 2s}", "longer", 3 },
        { "watch:\n  scrape_configs:\n  - {job_name: a, static_config: []}", "static_config", 3 },
        { "watch:\n  scrape_configs:\n  - {job_name: a, static_configs: [{targets: ['http://x/']}]}", "not a target",
          3 },
        { "watch:\n  scrape_configs:\n  - {job_name: a}\n  - {job_name: a}", "two scrape configs", 4 },
        { "watch:\n  scrape_configs:\n  - {job_name: a, scheme: ftp}", "ftp", 3 },
        { "watch:\n  scrape_configs:\n  - {job_name: a, scrape_protocols: [Thrift]}", "not a scrape protocol", 3 },
        { "watch:\n  scrape_configs:\n  - {job_name: a, scrape_protocols: [PrometheusProto, PrometheusProto]}", "twice",
          3 },
        { "watch:\n  scrape_configs:\n  - {job_name: a, bearer_token: x, basic_auth: {username: u}}", "exclude", 3 },
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        parsed p = parse(bad[i].text);
        CHECK_MSG(p.k != OK, "accepted: %s", bad[i].text);
        AUTO(buf_done) buf all = BUF_INIT(2000);
        buf_printf(&all, "%s %s", p.e.message, p.e.hint);
        CHECK_MSG(str_find(buf_str(&all), str_from(bad[i].message)) >= 0, "\"%s\" gives \"%s\"", bad[i].text,
                  buf_cstr(&all));
        CHECK_MSG(p.e.line == bad[i].line, "\"%s\" is told on line %u", bad[i].text, p.e.line);
        done(&p);
    }
}

TEST(targets_are_relabelled_and_get_url_job_and_instance)
{
    parsed p = parse(
        "watch:\n  scrape_configs:\n  - job_name: a\n    metrics_path: /m\n    scheme: https\n    params: {collect: [x y, z]}\n"
        "    static_configs: [{targets: ['h:1', 'h:2', '[::1]:3', plain], labels: {zone: z}}]\n"
        "    relabel_configs:\n    - {source_labels: [__address__], regex: 'h:2', action: drop}\n"
        "    - {source_labels: [__address__], regex: '(h):.*', target_label: host}\n");
    AUTO(arena_done) arena a = arena_init(1 << 20);
    target_spec *t;
    size_t n;
    CHECK_OK(p.k, p.e);
    CHECK_OK(scrape_job_targets(&p.c->jobs[0], &a, &t, &n, &p.e), p.e);
    CHECK_EQ(n, 4);
    CHECK_STR(t[0].url, "https://h:1/m?collect=x%20y&collect=z");
    CHECK_STR(labels_get(t[0].labels, STR("instance")), "h:1");
    CHECK_STR(labels_get(t[0].labels, STR("job")), "a");
    CHECK_STR(labels_get(t[0].labels, STR("host")), "h");
    CHECK_STR(labels_get(t[0].labels, STR("zone")), "z");
    CHECK_STR(labels_get(t[0].discovered, STR("__scrape_interval__")), "15s");
    CHECK_EQ(labels_get(t[0].labels, STR("__address__")).len, 0);
    CHECK(t[1].dropped);
    CHECK_STR(t[2].url, "https://[::1]:3/m?collect=x%20y&collect=z");
    CHECK_STR(t[3].url, "https://plain:443/m?collect=x%20y&collect=z");
    done(&p);
}

TEST(what_the_labels_of_a_group_say_stands_before_the_jobs_defaults)
{
    parsed p = parse("watch:\n  scrape_configs:\n  - job_name: a\n    params: {q: [one, two]}\n    static_configs:\n"
                     "    - {targets: ['h:1'], labels: {__metrics_path__: /node/1, instance: one}}\n"
                     "    - {targets: ['h:1'], labels: {__metrics_path__: /node/2, __scheme__: https, job: b, "
                     "__scrape_interval__: 5s, __scrape_timeout__: 1s, __param_q: x, __param_z: y}}\n");
    AUTO(arena_done) arena a = arena_init(1 << 20);
    target_spec *t;
    size_t n;
    CHECK_OK(p.k, p.e);
    CHECK_OK(scrape_job_targets(&p.c->jobs[0], &a, &t, &n, &p.e), p.e);
    CHECK_EQ(n, 2);
    CHECK_STR(t[0].url, "http://h:1/node/1?q=one&q=two");
    CHECK_STR(labels_get(t[0].labels, STR("instance")), "one");
    CHECK_STR(labels_get(t[0].discovered, STR("__metrics_path__")), "/node/1");
    CHECK_STR(t[1].url, "https://h:1/node/2?q=x&q=two&z=y");
    CHECK_STR(labels_get(t[1].labels, STR("job")), "b");
    CHECK_EQ(t[1].interval_ms, 5000);
    CHECK_EQ(t[1].timeout_ms, 1000);
    done(&p);
}

TEST(formats_to_ask_for_are_those_of_the_job_or_the_global_section)
{
    static const struct {
        const char *what, *global, *job, *accept;
        scrape_protocol fallback;
    } cases[] = {
        { "the preset", "", "",
          "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"
          "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
          SCRAPE_NO_PROTOCOL },
        { "a list", "",
          ", scrape_protocols: [PrometheusText0.0.4, PrometheusProto], fallback_scrape_protocol: PrometheusText1.0.0",
          "text/plain;version=0.0.4;q=0.6,application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;"
          "q=0.5,*/*;q=0.4",
          SCRAPE_TEXT_1 },
        { "the global list", "scrape_protocols: [PrometheusText0.0.4]", "", "text/plain;version=0.0.4;q=0.6,*/*;q=0.5",
          SCRAPE_NO_PROTOCOL },
        { "the job's list before the global one", "scrape_protocols: [PrometheusText0.0.4]",
          ", scrape_protocols: [OpenMetricsText0.0.1]", "application/openmetrics-text;version=0.0.1;q=0.6,*/*;q=0.5",
          SCRAPE_NO_PROTOCOL },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(yaml_doc_freep) yaml_doc *doc = NULL;
        char text[400], accept[SCRAPE_ACCEPT_MAX];
        watch_config *c = NULL;
        err e = { 0 };
        snprintf(text, sizeof text, "global: {sample_limit: 7%s%s}\nscrape_configs:\n- {job_name: a%s}\n",
                 cases[i].global[0] ? ", " : "", cases[i].global, cases[i].job);
        CHECK_OK(yaml_parse(str_from(text), "p.yml", &doc, &e), e);
        CHECK_OK(watch_config_from_prometheus(doc, ".", &c, &e), e);
        scrape_accept(&c->jobs[0].protocols, accept);
        CHECK_STR(str_from(accept), cases[i].accept);
        CHECK_EQ(c->jobs[0].fallback, cases[i].fallback);
        CHECK_EQ(c->jobs[0].sample_limit, 7);
        CHECK(c->jobs[0].compression && !c->jobs[0].native_histograms);
        watch_config_free(c);
    }
}

TEST(native_histograms_put_protobuf_first)
{
    parsed p = parse("watch:\n  scrape_configs:\n  - {job_name: a, scrape_native_histograms: true}\n");
    CHECK_OK(p.k, p.e);
    CHECK_EQ(p.c->jobs[0].protocols.at[0], SCRAPE_PROTOBUF);
    CHECK_EQ(p.c->jobs[0].protocols.len, 5);
    done(&p);
}

TEST(the_type_of_a_page_says_how_to_read_it)
{
    static const struct {
        const char *type;
        scrape_protocol fallback;
        exposition_format want;
    } cases[] = {
        { "text/plain; version=0.0.4", SCRAPE_NO_PROTOCOL, EXPOSITION_TEXT },
        { "application/openmetrics-text; version=1.0.0; charset=utf-8", SCRAPE_NO_PROTOCOL, EXPOSITION_OPENMETRICS },
        { "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
          SCRAPE_NO_PROTOCOL, EXPOSITION_PROTOBUF },
        { "application/vnd.google.protobuf; proto=other", SCRAPE_NO_PROTOCOL, EXPOSITION_TEXT },
        { "application/octet-stream", SCRAPE_NO_PROTOCOL, EXPOSITION_TEXT },
        { "application/octet-stream", SCRAPE_OPENMETRICS_0, EXPOSITION_OPENMETRICS },
        { "", SCRAPE_PROTOBUF, EXPOSITION_PROTOBUF },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        CHECK_EQ(scrape_format_of(str_from(cases[i].type), cases[i].fallback), cases[i].want);
}

TEST(a_job_keeps_its_fingerprint_when_only_the_layout_changes)
{
    parsed a = parse("watch:\n  scrape_configs:\n  - {job_name: a, static_configs: [{targets: ['h:1']}]}\n");
    parsed b = parse(
        "watch:\n  scrape_configs:\n  # a comment\n  - job_name: a\n    static_configs:\n    - targets:\n      - h:1\n");
    parsed c = parse("watch:\n  scrape_configs:\n  - {job_name: a, static_configs: [{targets: ['h:2']}]}\n");
    CHECK(a.c->jobs[0].fingerprint == b.c->jobs[0].fingerprint && a.c->jobs[0].fingerprint != c.c->jobs[0].fingerprint);
    done(&a);
    done(&b);
    done(&c);
}

TEST(other_ways_of_finding_targets_load_and_say_why_they_do_not_run)
{
    parsed p = parse(
        "watch:\n  scrape_configs:\n  - job_name: k\n    kubernetes_sd_configs: [{role: pod}]\n    bearer_token_file: /no/such/file\n");
    CHECK_OK(p.k, p.e);
    CHECK_CONTAINS(str_from(p.c->jobs[0].down_reason), "kubernetes_sd_configs");
    done(&p);
}

TEST(the_seeds_own_files_load_unchanged)
{
    static const struct {
        const char *file;
        size_t jobs;
    } files[] = {
        { "000/prometheus.yml", 2 },
        { "001/scrape_configs.yml", 1 },
        { "002/prometheus.yml", 5 },
    };
    const char *dir = "../../../shared/reference/seed-configs";
    if (!file_exists(dir)) {
        print_message("skipped: %s is not there\n", dir);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        AUTO(yaml_doc_freep) yaml_doc *doc = NULL;
        char path[256];
        watch_config *c = NULL;
        err e = { 0 };
        snprintf(path, sizeof path, "%s/%s", dir, files[i].file);
        CHECK_OK(yaml_load(path, &doc, &e), e);
        CHECK_OK(watch_config_from_prometheus(doc, dir, &c, &e), e);
        CHECK_EQ(c->job_count, files[i].jobs);
        CHECK(!c->host.enabled && !c->discovery.enabled);
        watch_config_free(c);
    }
}

TEST(parsing_survives_any_failed_allocation)
{
    AUTO(yaml_doc_freep) yaml_doc *doc = NULL;
    err e = { 0 };
    CHECK_OK(
        yaml_parse(
            STR("replicas:\n- {name: a, url: 'http://x:1', process: {command: [a], env: {A: b}}, probe: {model: m}}\n"
                "scrape_configs:\n- {job_name: j, params: {a: [b]}, static_configs: [{targets: ['h:1']}], "
                "relabel_configs: [{source_labels: [a], target_label: b}]}\n"),
            "t.yml", &doc, &e),
        e);
    config file = { .doc = doc, .watch = doc->root, .dir = "." };
    for (unsigned nth = 0;; nth++) {
        watch_config *c = NULL;
        fault_alloc(nth);
        err_kind k = watch_config_parse(&file, &c, &e);
        bool fired = fault_fired();
        CHECK_MSG(k == OK || (fired && k == ERR_NOMEM), "allocation %u: kind %d, %s", nth, k, e.message);
        CHECK_EQ(c == NULL, k != OK); /* a pattern without memory for its short cut still works */
        watch_config_free(c);
        if (!fired)
            break;
    }
}
