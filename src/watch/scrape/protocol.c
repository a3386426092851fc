#include "watch/scrape/protocol.h"
#include <stdio.h>

static const struct {
    const char *name, *type;
    exposition_format format;
} protocols[SCRAPE_PROTOCOL_COUNT] = {
    [SCRAPE_PROTOBUF] = { "PrometheusProto",
                          "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
                          EXPOSITION_PROTOBUF },
    [SCRAPE_OPENMETRICS_1] = { "OpenMetricsText1.0.0",
                               "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8",
                               EXPOSITION_OPENMETRICS },
    [SCRAPE_OPENMETRICS_0] = { "OpenMetricsText0.0.1", "application/openmetrics-text;version=0.0.1",
                               EXPOSITION_OPENMETRICS },
    [SCRAPE_TEXT_1] = { "PrometheusText1.0.0", "text/plain;version=1.0.0;escaping=allow-utf-8", EXPOSITION_TEXT },
    [SCRAPE_TEXT_0] = { "PrometheusText0.0.4", "text/plain;version=0.0.4", EXPOSITION_TEXT },
};

err_kind scrape_protocol_parse(const yaml_doc *doc, const yaml_node *at, str name, scrape_protocol *ret, err *e)
{
    for (scrape_protocol p = SCRAPE_PROTOBUF; p < SCRAPE_PROTOCOL_COUNT; p++) {
        if (str_is(name, protocols[p].name)) {
            *ret = p;
            return OK;
        }
    }
    (void)yaml_error(doc, at, e, "\"%" STR_FMT "\" is not a scrape protocol", STR_ARG(name));
    return err_hint(e, "Use PrometheusProto, OpenMetricsText1.0.0, OpenMetricsText0.0.1, PrometheusText1.0.0 or "
                       "PrometheusText0.0.4.");
}

static bool listed(const scrape_protocols *p, scrape_protocol which)
{
    for (size_t i = 0; i < p->len; i++) {
        if (p->at[i] == which)
            return true;
    }
    return false;
}

static scrape_protocols preset(bool native)
{
    scrape_protocols all = { .len = 0 };
    for (scrape_protocol p = native ? SCRAPE_PROTOBUF : SCRAPE_OPENMETRICS_1; p < SCRAPE_PROTOCOL_COUNT; p++)
        all.at[all.len++] = (uint8_t)p;
    return all;
}

err_kind scrape_protocols_parse(const yaml_doc *doc, const yaml_node *at, config_strs names, bool native,
                                scrape_protocols *ret, err *e)
{
    scrape_protocols all = names.len ? (scrape_protocols){ .len = 0 } : preset(native);
    for (size_t i = 0; i < names.len; i++) {
        scrape_protocol p = SCRAPE_NO_PROTOCOL;
        err_kind k = scrape_protocol_parse(doc, at, names.at[i], &p, e);
        if (k)
            return k;
        if (listed(&all, p))
            return yaml_error(doc, at, e, "scrape protocol \"%s\" is listed twice", protocols[p].name);
        all.at[all.len++] = (uint8_t)p;
    }
    *ret = all;
    return OK;
}

void scrape_accept(const scrape_protocols *p, char out[SCRAPE_ACCEPT_MAX])
{
    const scrape_protocols usual = preset(false);
    size_t n = 0;
    int weight = SCRAPE_PROTOCOL_COUNT; /* one more than there are */
    p = p->len ? p : &usual;
    for (size_t i = 0; i < p->len && n < SCRAPE_ACCEPT_MAX; i++)
        n += (size_t)snprintf(out + n, SCRAPE_ACCEPT_MAX - n, "%s;q=0.%d,", protocols[p->at[i]].type, weight--);
    if (n < SCRAPE_ACCEPT_MAX)
        snprintf(out + n, SCRAPE_ACCEPT_MAX - n, "*/*;q=0.%d", weight);
}

exposition_format scrape_format_of(str content_type, scrape_protocol fallback)
{
    str rest = content_type, media;
    if (!str_split(&rest, ';', &media))
        media = STR_EMPTY;
    media = str_trim(media);
    if (str_eq_nocase(media, STR("application/openmetrics-text")))
        return EXPOSITION_OPENMETRICS;
    if (str_eq_nocase(media, STR("text/plain")))
        return EXPOSITION_TEXT;
    if (str_eq_nocase(media, STR("application/vnd.google.protobuf")) &&
        str_find(rest, STR("io.prometheus.client.MetricFamily")) >= 0 && str_find(rest, STR("delimited")) >= 0)
        return EXPOSITION_PROTOBUF;
    return fallback != SCRAPE_NO_PROTOCOL ? protocols[fallback].format : EXPOSITION_TEXT;
}
