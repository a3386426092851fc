#include "net/http_auth.h"
#include "base/file.h"

#define SECRET_MAX_BYTES 16384

/* ---- reading ---- */
typedef struct raw_basic {
    char *username, *username_file, *password, *password_file;
} raw_basic;
static const config_field basic_fields[] = {
    { "username", CONFIG_CSTR, offsetof(raw_basic, username), false, NULL, 0, 0, "user name" },
    { "username_file", CONFIG_IGNORED, 0, false, NULL, 0, 0, "accepted, without effect so far" },
    { "password", CONFIG_CSTR, offsetof(raw_basic, password), false, NULL, 0, 0, "password; password_file is safer" },
    { "password_file", CONFIG_CSTR, offsetof(raw_basic, password_file), false, NULL, 0, 0,
      "file that holds the password" },
};
typedef struct raw_authorization {
    str type;
    char *credentials, *credentials_file;
} raw_authorization;
static const config_field authorization_fields[] = {
    { "type", CONFIG_STR, offsetof(raw_authorization, type), false, "Bearer", 0, 0, "first word of the header" },
    { "credentials", CONFIG_CSTR, offsetof(raw_authorization, credentials), false, NULL, 0, 0,
      "the secret; credentials_file is safer" },
    { "credentials_file", CONFIG_CSTR, offsetof(raw_authorization, credentials_file), false, NULL, 0, 0,
      "file that holds the secret" },
};
typedef struct raw_tls {
    char *ca_file, *cert_file, *key_file;
    bool insecure;
} raw_tls;
static const config_field tls_fields[] = {
    { "ca_file", CONFIG_CSTR, offsetof(raw_tls, ca_file), false, NULL, 0, 0, "certificates to trust" },
    { "insecure_skip_verify", CONFIG_BOOL, offsetof(raw_tls, insecure), false, "false", 0, 0, "trust anything" },
    { "ca", CONFIG_IGNORED, 0, false, NULL, 0, 0, "accepted, without effect so far" },
    { "cert", CONFIG_IGNORED, 0, false, NULL, 0, 0, "accepted, without effect so far" },
    { "key", CONFIG_IGNORED, 0, false, NULL, 0, 0, "accepted, without effect so far" },
    { "cert_file", CONFIG_CSTR, offsetof(raw_tls, cert_file), false, NULL, 0, 0, "our certificate, PEM" },
    { "key_file", CONFIG_CSTR, offsetof(raw_tls, key_file), false, NULL, 0, 0, "its key, PEM" },
    { "server_name", CONFIG_IGNORED, 0, false, NULL, 0, 0, "accepted, without effect so far" },
    { "min_version", CONFIG_IGNORED, 0, false, NULL, 0, 0, "accepted, without effect so far" },
    { "max_version", CONFIG_IGNORED, 0, false, NULL, 0, 0, "accepted, without effect so far" },
};

/* A file name from the configuration, relative to its folder. */
static err_kind resolve(const char *name, const char *dir, arena *a, char **ret, err *e)
{
    *ret = NULL;
    if (!name)
        return OK;
    str full = name[0] == '/' || !dir ? arena_str(a, str_from(name)) : arena_printf(a, "%s/%s", dir, name);
    if (!full.ptr)
        return err_nomem(e);
    *ret = (char *)full.ptr;
    return OK;
}

err_kind http_auth_parse(const yaml_doc *doc, const yaml_node *basic, const yaml_node *authorization,
                         const yaml_node *tls, const char *bearer, const char *bearer_file, const char *dir, arena *a,
                         http_auth *ret, err *e)
{
    raw_basic b = { 0 };
    raw_authorization w = { 0 };
    raw_tls t = { 0 };
    err_kind k = config_bind(doc, basic, basic_fields, COUNT_OF(basic_fields), &b, a, e);
    if (!k)
        k = config_bind(doc, authorization, authorization_fields, COUNT_OF(authorization_fields), &w, a, e);
    if (!k)
        k = config_bind(doc, tls, tls_fields, COUNT_OF(tls_fields), &t, a, e);
    if (k)
        return k;
    if (basic && (authorization || bearer || bearer_file))
        return yaml_error(doc, basic, e, "basic_auth and authorization exclude each other");
    *ret = (http_auth){ .basic_user = b.username,
                        .basic_password = b.password,
                        .type = w.type,
                        .bearer = w.credentials ? w.credentials : (char *)bearer,
                        .tls_insecure = t.insecure };
    k = resolve(b.password_file, dir, a, &ret->basic_password_file, e);
    if (!k)
        k = resolve(w.credentials_file ? w.credentials_file : bearer_file, dir, a, &ret->bearer_file, e);
    if (!k)
        k = resolve(t.ca_file, dir, a, &ret->ca_file, e);
    if (!k)
        k = resolve(t.cert_file, dir, a, &ret->cert_file, e);
    if (!k)
        k = resolve(t.key_file, dir, a, &ret->key_file, e);
    return k;
}

/* ---- applying ---- */

static err_kind read_secret(const char *path, arena *a, const char **ret, err *e)
{
    char text[SECRET_MAX_BYTES];
    size_t len;
    if (file_read_small(path, text, sizeof text, &len, e))
        return err_context(e, "could not read the credentials");
    *ret = arena_cstr(a, str_trim(str_of(text, len)));
    return *ret ? OK : err_nomem(e);
}

err_kind http_auth_apply(const http_auth *auth, arena *a, http_fetch_options *o, http_header *ret_header, err *e)
{
    const char *secret = auth->bearer, *password = auth->basic_password;
    err_kind k = OK;
    *ret_header = (http_header){ STR_EMPTY, STR_EMPTY };
    if (auth->bearer_file)
        k = read_secret(auth->bearer_file, a, &secret, e);
    if (!k && auth->basic_password_file)
        k = read_secret(auth->basic_password_file, a, &password, e);
    if (k)
        return k;
    o->ca_file = auth->ca_file;
    o->cert_file = auth->cert_file;
    o->key_file = auth->key_file;
    o->tls_insecure = auth->tls_insecure;
    if (auth->basic_user) {
        o->basic_user = auth->basic_user;
        o->basic_password = password ? password : "";
    } else if (secret && (!auth->type.len || str_eq_nocase(auth->type, STR("Bearer")))) {
        o->bearer_token = secret;
    } else if (secret) {
        str value = arena_printf(a, "%" STR_FMT " %s", STR_ARG(auth->type), secret);
        if (!value.ptr)
            return err_nomem(e);
        *ret_header = (http_header){ STR("Authorization"), value };
    }
    return OK;
}
