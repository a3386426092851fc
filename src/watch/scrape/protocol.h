/* watch/scrape/protocol.h - in which formats a target may answer: scrape_protocols, the Accept field, the Content-Type.
 *
 * Names and media types are Prometheus's (config/config.go, ScrapeProtocolsHeaders). What a target says of its page
 * decides; a type nobody knows is read as fallback_scrape_protocol says, and without one as text: engines name their
 * pages oddly, and a page that is none is refused by its first line anyway. */
#pragma once
#include "config/config.h"
#include "metric/metric.h"

typedef enum scrape_protocol {
    SCRAPE_NO_PROTOCOL, SCRAPE_PROTOBUF, SCRAPE_OPENMETRICS_1, SCRAPE_OPENMETRICS_0, SCRAPE_TEXT_1, SCRAPE_TEXT_0, SCRAPE_PROTOCOL_COUNT
} scrape_protocol;
/* Best first; none: the preset without protobuf. */
typedef struct scrape_protocols { uint8_t at[SCRAPE_PROTOCOL_COUNT]; uint8_t len; } scrape_protocols;
#define SCRAPE_ACCEPT_MAX 512

/* Names as the configuration has them, each once; none: the preset, which begins with protobuf if `native`. */
err_kind scrape_protocols_parse(const yaml_doc *doc, const yaml_node *at, config_strs names, bool native,
                                scrape_protocols *ret, err *e);
err_kind scrape_protocol_parse(const yaml_doc *doc, const yaml_node *at, str name, scrape_protocol *ret, err *e);
void scrape_accept(const scrape_protocols *p, char out[SCRAPE_ACCEPT_MAX]);
/* `fallback` may be SCRAPE_NO_PROTOCOL. */
exposition_format scrape_format_of(str content_type, scrape_protocol fallback);
