#include "alert/notify/webhook.h"

#include "base/test.h"

TEST(webhook_message_is_alertmanagers_version_4)
{
    label la[] = { { STR("alertname"), STR("Down") }, { STR("instance"), STR("a\"b") }, { STR("job"), STR("chat") } };
    label lb[] = { { STR("alertname"), STR("Down") }, { STR("instance"), STR("b") }, { STR("job"), STR("chat") } };
    config_pair pa[] = { { STR("summary"), STR("发动机停了") }, { STR("n"), STR("1") } }, pb[] = { { STR("summary"), STR("发动机停了") }, { STR("n"), STR("2") } };
    notify_alert a = { .labels = label_set_new((labels){ la, 3 }), .annotations = pa, .annotation_count = 2, .generator_url = STR("http://g/graph?g0.expr=up"), .starts_ms = 1435065584128 };
    notify_alert b = { .labels = label_set_new((labels){ lb, 3 }), .annotations = pb, .annotation_count = 2, .generator_url = STR("u"), .starts_ms = 1435065584128, .ends_ms = 1435065599000 };
    const notify_alert *both[] = { &a, &b };
    webhook_message m = { .receiver = STR("ops"), .group_key = STR("{}:{alertname=\"Down\"}"), .external_url = STR("http://g"),
                          .group_labels = { la, 1 }, .alerts = both, .len = 2, .max_alerts = 0 };
    AUTO(buf_done) buf out = BUF_INIT(1u << 20);
    AUTO(json_doc_freep) json_doc *doc = NULL;

    webhook_write(&m, &out);
    CHECK_STR(buf_str(&out),
              "{\"receiver\":\"ops\",\"status\":\"firing\",\"alerts\":["
              "{\"status\":\"firing\",\"labels\":{\"alertname\":\"Down\",\"instance\":\"a\\\"b\",\"job\":\"chat\"},\"annotations\":{\"summary\":\"发动机停了\",\"n\":\"1\"},"
              "\"startsAt\":\"2015-06-23T13:19:44.128Z\",\"endsAt\":\"0001-01-01T00:00:00Z\",\"generatorURL\":\"http://g/graph?g0.expr=up\",\"fingerprint\":\"b514ae201055ead3\"},"
              "{\"status\":\"resolved\",\"labels\":{\"alertname\":\"Down\",\"instance\":\"b\",\"job\":\"chat\"},\"annotations\":{\"summary\":\"发动机停了\",\"n\":\"2\"},"
              "\"startsAt\":\"2015-06-23T13:19:44.128Z\",\"endsAt\":\"2015-06-23T13:19:59.000Z\",\"generatorURL\":\"u\",\"fingerprint\":\"edfd08ae12b6dc12\"}],"
              "\"groupLabels\":{\"alertname\":\"Down\"},\"commonLabels\":{\"alertname\":\"Down\",\"job\":\"chat\"},\"commonAnnotations\":{\"summary\":\"发动机停了\"},"
              "\"externalURL\":\"http://g\",\"version\":\"4\",\"groupKey\":\"{}:{alertname=\\\"Down\\\"}\",\"truncatedAlerts\":0}");
    err e = { 0 };
    CHECK_OK(json_parse(buf_str(&out), &doc, &e), e);

    buf_reset(&out);
    m.max_alerts = 1;
    webhook_write(&m, &out);
    CHECK_CONTAINS(buf_str(&out), "\"truncatedAlerts\":1");
    label_set_unref(a.labels);
    label_set_unref(b.labels);
}

/* FNV-1a 64 over nothing is its offset basis (common/model/fnv.go); the digits above were computed by another program. */
TEST(webhook_fingerprint_is_prometheuss)
{
    CHECK(webhook_fingerprint((labels){ 0 }) == UINT64_C(14695981039346656037));
}
