/* net/http_auth.h - how galen introduces itself to others: the keys that Prometheus's schema has wherever it is a client
 * (scrape configs, remote_write, receivers). https://prometheus.io/docs/prometheus/latest/configuration/configuration/
 *
 * Secrets stay in their files until a request is made, so they may rotate. */
#pragma once
#include "config/config.h"
#include "net/net.h"

typedef struct http_auth {
    char *basic_user, *basic_password, *basic_password_file;
    char *bearer, *bearer_file;           /* the credentials of Authorization */
    str type;                             /* "Bearer" unless `authorization` says otherwise */
    char *ca_file, *cert_file, *key_file;
    bool tls_insecure;
} http_auth;

/* basic_auth, authorization, tls_config, bearer_token, bearer_token_file; all may be absent. Files are relative to `dir`,
 * strings live in `a`. */
err_kind http_auth_parse(const yaml_doc *doc, const yaml_node *basic, const yaml_node *authorization, const yaml_node *tls,
                         const char *bearer, const char *bearer_file, const char *dir, arena *a, http_auth *ret, err *e);
/* Credentials as fetch options: secrets are read from their files now, into `a`. ERR_NOT_FOUND etc. name the file.
 * *ret_header is empty, or one more field to send. */
err_kind http_auth_apply(const http_auth *auth, arena *a, http_fetch_options *o, http_header *ret_header, err *e);
