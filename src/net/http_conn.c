/* net/http_conn.c - one connection: reading, handing over, writing, and every way it can end. */
#include "net/http_conn.h"

#include <stdio.h>

typedef enum conn_phase {
    CONN_IDLE,
    CONN_HEAD,
    CONN_BODY,
    CONN_HANDLING,
    CONN_WRITING,
    CONN_LINGER,
    CONN_CLOSED
} conn_phase;

struct http_conn {
    http_server *server;
    http_conn *prev, *next;
    uv_tcp_t tcp;
    uv_timer_t timer;
    unsigned open_handles;
    conn_phase phase;
    bool consuming; /* conn_consume is on the stack */
    bool reading, read_eof;
    bool keep;  /* after the reply being written */
    bool heard; /* anything at all, ever */
    http1_codec *codec;
    buf pending;       /* read, but it waits for the reply before it */
    size_t body_bytes; /* of the request being read or answered, counted in the server */
    http_exchange *x;  /* what a handler has */
    buf out;           /* the reply being written … */
    uv_write_t write;
    uv_shutdown_t shutdown;
    size_t unsent_bytes; /* … and how much was left when we last looked */
    char peer[64];
};

static void conn_resume(http_conn *c);
static void conn_read_on(http_conn *c);

/* ---- phases and their clocks ---- */

static int64_t phase_timeout_ms(const http_conn *c, conn_phase phase)
{
    switch (phase) {
    case CONN_IDLE: return c->server->idle_timeout_ms;
    case CONN_HEAD: return c->server->header_timeout_ms;
    case CONN_BODY:
    case CONN_WRITING: return c->server->body_timeout_ms;
    case CONN_LINGER: return HTTP_LINGER_MS;
    default: return 0;
    }
}

static void conn_timed_out(uv_timer_t *timer);

/* Entering the phase one is in does not wind up its clock: that is what stops a dripping client. */
static void conn_enter(http_conn *c, conn_phase phase)
{
    if (c->phase == phase || c->phase == CONN_CLOSED)
        return;
    c->phase = phase;
    int64_t timeout_ms = phase_timeout_ms(c, phase);
    if (timeout_ms)
        uv_timer_start(&c->timer, conn_timed_out, (uint64_t)timeout_ms, 0);
    else
        uv_timer_stop(&c->timer);
}

/* ---- the exchange's end ---- */

/* Free x once nobody needs it: its handler has returned, and it was answered or nobody waits for the answer. */
static void exchange_settle(http_exchange *x)
{
    if (!x->in_handler && (x->replied || x->gone))
        http_exchange_free(x);
}

/* The client has gone. A handler that asked to hear of it hears of it, and the request dies; one that did not
 * will reply some day, and the request dies then. */
static void exchange_abandon(http_exchange *x)
{
    x->conn = NULL;
    if (x->in_handler || x->replied || !x->req.on_close)
        return;
    x->gone = true;
    x->req.on_close(&x->req);
    exchange_settle(x);
}

static void conn_count_body(http_conn *c, size_t bytes)
{
    c->server->body_bytes = c->server->body_bytes - c->body_bytes + bytes;
    c->body_bytes = bytes;
}

/* ---- closing ---- */

static void conn_handle_closed(uv_handle_t *handle)
{
    http_conn *c = handle->data;

    if (--c->open_handles > 0)
        return;
    http_server *s = c->server;
    if (c->prev)
        c->prev->next = c->next;
    else
        s->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    s->conn_count--;
    conn_count_body(c, 0);
    http1_codec_free(c->codec);
    buf_done(&c->pending);
    buf_done(&c->out);
    mem_free(c);
    http_server_conn_gone(s);
}

void http_conn_close(http_conn *c)
{
    if (c->phase == CONN_CLOSED)
        return;
    conn_enter(c, CONN_CLOSED);
    uv_close((uv_handle_t *)&c->tcp, conn_handle_closed);
    uv_close((uv_handle_t *)&c->timer, conn_handle_closed);
    if (c->x)
        exchange_abandon(TAKE(c->x));
}

bool http_conn_close_if_idle(http_conn *c)
{
    bool idle = c->phase == CONN_IDLE || (c->phase == CONN_HEAD && !c->heard);

    if (idle)
        http_conn_close(c);
    return idle;
}

http_conn *http_conn_next(const http_conn *c) { return c->next; }

/* ---- writing ---- */

static void conn_shut(uv_shutdown_t *req, int status)
{
    UNUSED(req);
    UNUSED(status);
}

static void conn_linger(http_conn *c)
{
    buf_done(&c->pending);
    conn_read_on(c);
    if (c->phase == CONN_CLOSED)
        return;
    if (c->read_eof || uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, conn_shut))
        http_conn_close(c);
    else
        conn_enter(c, CONN_LINGER);
}

static void conn_flushed(http_conn *c)
{
    if (c->out.cap > 4096)
        buf_done(&c->out);
    if (!c->keep || c->server->closing) {
        conn_linger(c);
        return;
    }
    conn_enter(c, CONN_IDLE);
    conn_resume(c);
}

static void conn_written(uv_write_t *write, int status)
{
    http_conn *c = write->data;

    if (c->phase != CONN_WRITING)
        return;
    if (status)
        http_conn_close(c);
    else
        conn_flushed(c);
}

/* Write c->out: what the socket takes now, the rest when it can. */
static void conn_send(http_conn *c, bool keep)
{
    uv_stream_t *stream = (uv_stream_t *)&c->tcp;
    uv_buf_t bytes = uv_buf_init(c->out.ptr, (unsigned)c->out.len);

    c->keep = keep;
    conn_enter(c, CONN_WRITING);
    int sent = uv_try_write(stream, &bytes, 1);
    if (sent < 0 && sent != UV_EAGAIN) {
        http_conn_close(c);
        return;
    }
    bytes = uv_buf_init(c->out.ptr + MAX(sent, 0), (unsigned)(c->out.len - (size_t)MAX(sent, 0)));
    if (bytes.len == 0) {
        conn_flushed(c);
        return;
    }
    c->write.data = c;
    c->unsent_bytes = bytes.len;
    if (uv_write(&c->write, stream, &bytes, 1, conn_written))
        http_conn_close(c);
}

void http_conn_reply(http_exchange *x, int status, const http_header *headers, size_t n, str body)
{
    if (x->gone || x->replied)
        return; /* a handler's slip; the first answer stands */
    x->replied = true;
    http_conn *c = x->conn;
    if (c) {
        c->x = NULL;
        x->conn = NULL;
        bool keep = x->keep_alive && !c->server->closing;
        conn_count_body(c, 0);
        buf_reset(&c->out);
        http_reply_write(&c->out, x, status, headers, n, body, keep);
        if (buf_failed(&c->out))
            http_conn_close(c); /* no memory even to say so */
        else
            conn_send(c, keep);
    }
    exchange_settle(x);
}

/* The connection could not make out a request: say why, and no more. */
static void conn_refuse(http_conn *c, int status, const err *e)
{
    buf_reset(&c->out);
    http_reply_write_refusal(&c->out, status, e);
    if (buf_failed(&c->out))
        http_conn_close(c);
    else
        conn_send(c, false);
}

/* ---- requests ---- */

static void allow_text(buf *out, unsigned methods)
{
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = {
        { HTTP_GET, "GET" },       { HTTP_HEAD, "HEAD" },   { HTTP_POST, "POST" },       { HTTP_PUT, "PUT" },
        { HTTP_DELETE, "DELETE" }, { HTTP_PATCH, "PATCH" }, { HTTP_OPTIONS, "OPTIONS" },
    };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if ((methods | HTTP_OPTIONS) & names[i].bit)
            buf_printf(out, "%s%s", out->len ? ", " : "", names[i].name);
}

/* The router's no. */
static void reply_refusal(http_exchange *x)
{
    AUTO(buf_done) buf body = BUF_INIT(4096);
    AUTO(buf_done) buf allow = BUF_INIT(128);
    http_header headers[2] = { { STR("Content-Type"), STR("application/json") } };
    size_t n = 1;

    if (x->refuse_status != 204)
        http_error_json(&body, &x->refusal);
    if (x->refuse_status == 405 || x->refuse_status == 204) {
        allow_text(&allow, x->allow);
        headers[n++] = (http_header){ STR("Allow"), buf_str(&allow) };
    }
    if (x->refuse_status == 401)
        headers[n++] = (http_header){ STR("WWW-Authenticate"), STR("Bearer realm=\"galen\"") };
    http_conn_reply(x, x->refuse_status, headers, n, buf_failed(&body) ? STR("") : buf_str(&body));
}

static void conn_dispatch(http_conn *c, http_exchange *x)
{
    x->conn = c;
    x->req.peer = str_from(c->peer);
    x->in_handler = true;
    c->x = x;
    conn_enter(c, CONN_HANDLING);
    if (x->route)
        x->route->handler(&x->req);
    else
        reply_refusal(x);
    x->in_handler = false;
    if (!x->conn && !x->replied)
        exchange_abandon(x); /* the client went while the handler ran: tell it now */
    else
        exchange_settle(x);
}

/* The head is complete (called by the codec): may this request go on? A refused one with a small body is read to
 * its end, so that the connection survives; otherwise the answer comes at once and the connection ends. */
static int conn_head_done(void *ctx, http_exchange *x, err *e)
{
    http_conn *c = ctx;
    bool waits = x->has_body && x->wants_continue;

    http_router_choose(&c->server->router, x);
    if (waits && !x->route) {
        *e = x->refusal;
        return x->refuse_status == 204 ? 417 : x->refuse_status;
    }
    if (waits) {
        static char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        uv_buf_t bytes = uv_buf_init(go_on, sizeof go_on - 1);
        if (uv_try_write((uv_stream_t *)&c->tcp, &bytes, 1) != (int)bytes.len)
            return err_set(e, ERR_IO, "could not ask for the request's body"), 503;
    }
    return 0;
}

/* Many large bodies at once, each within its limit: the one that grows beyond what all may hold has to go. */
static void conn_refuse_crowd(http_conn *c)
{
    err e = { 0 };

    err_set(&e, ERR_FULL, "could not read the request: too many large ones at the same time");
    err_hint(&e, "Try again in a moment.");
    conn_refuse(c, 503, &e);
}

/* Use up bytes until a request is with a handler or nothing is left; returns what is left. */
static str conn_consume(http_conn *c, str bytes)
{
    static const conn_phase phases[] = {
        [HTTP1_BETWEEN] = CONN_IDLE, [HTTP1_IN_HEAD] = CONN_HEAD, [HTTP1_IN_BODY] = CONN_BODY
    };

    c->consuming = true;
    while (bytes.len && c->phase < CONN_HANDLING) {
        http_exchange *x;
        size_t used;
        int status;
        err e = { 0 };
        if (http1_next(c->codec, bytes, &used, &x, &status, &e)) {
            conn_refuse(c, status, &e);
            break;
        }
        bytes = str_skip(bytes, used);
        conn_count_body(c, x ? x->body.len : http1_codec_body_bytes(c->codec));
        if (x)
            conn_dispatch(c, x);
        else if (c->server->body_bytes > c->server->max_bodies_bytes)
            conn_refuse_crowd(c);
        else
            conn_enter(c, phases[http1_codec_place(c->codec)]);
    }
    c->consuming = false;
    return bytes;
}

/* ---- reading ---- */

static void conn_room(uv_handle_t *handle, size_t wish, uv_buf_t *ret)
{
    http_conn *c = handle->data;

    UNUSED(wish);
    *ret = uv_buf_init(c->server->read_bytes, sizeof c->server->read_bytes);
}

static void conn_read_eof(http_conn *c)
{
    c->read_eof = true;
    if (c->phase == CONN_WRITING) {
        /* It may have shut one side only: let it have its reply, and those to what it pipelined. */
        uv_read_stop((uv_stream_t *)&c->tcp);
        c->reading = false;
    } else {
        http_conn_close(c);
    }
}

static void conn_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *room)
{
    http_conn *c = stream->data;

    if (n == 0 || c->phase == CONN_CLOSED)
        return;
    if (n == UV_EOF) {
        conn_read_eof(c);
        return;
    }
    if (n < 0) {
        http_conn_close(c);
        return;
    }
    c->heard = true;
    str bytes = str_of(room->base, (size_t)n);
    if (c->phase < CONN_HANDLING)
        bytes = conn_consume(c, bytes);
    if (!bytes.len || c->phase == CONN_LINGER || c->phase == CONN_CLOSED)
        return;
    if (buf_append(&c->pending, bytes)) {
        http_conn_close(c);
    } else if (c->pending.len >= HTTP_PIPELINE_MAX) {
        uv_read_stop(stream);
        c->reading = false;
    }
}

static void conn_read_on(http_conn *c)
{
    if (c->reading || c->read_eof || c->phase == CONN_CLOSED)
        return;
    c->reading = uv_read_start((uv_stream_t *)&c->tcp, conn_room, conn_read) == 0;
    if (!c->reading)
        http_conn_close(c);
}

/* A reply is out: go on with what came meanwhile. Inside conn_consume its loop does that. */
static void conn_resume(http_conn *c)
{
    if (c->consuming)
        return;
    if (c->pending.len) {
        str rest = conn_consume(c, buf_str(&c->pending));
        if (c->phase >= CONN_LINGER)
            return; /* the last word was said: lingering threw away what was pending */
        if (rest.len)
            buf_consume(&c->pending, c->pending.len - rest.len);
        else
            buf_done(&c->pending);
    }
    if (c->pending.len < HTTP_PIPELINE_MAX)
        conn_read_on(c);
    if (c->read_eof && c->phase < CONN_HANDLING)
        http_conn_close(c);
}

/* ---- time's up ---- */

static void conn_timed_out(uv_timer_t *timer)
{
    http_conn *c = timer->data;
    err e = { 0 };
    size_t unsent = uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp);

    if (c->phase == CONN_WRITING && unsent < c->unsent_bytes) {
        c->unsent_bytes = unsent; /* slow, but it takes */
        uv_timer_start(timer, conn_timed_out, (uint64_t)c->server->body_timeout_ms, 0);
        return;
    }
    if ((c->phase != CONN_HEAD && c->phase != CONN_BODY) || !c->heard) {
        http_conn_close(c);
        return;
    }
    err_set(&e, ERR_TIMEOUT, "gave up waiting for the rest of the request");
    err_hint(&e, "Send the head and the body without long pauses.");
    conn_refuse(c, 408, &e);
}

/* ---- accepting ---- */

static void turned_away_closed(uv_handle_t *handle)
{
    http_server *s = handle->data;

    s->conn_count--;
    mem_free(handle);
    http_server_conn_gone(s);
}

/* The server is full. One short answer and good-bye; the connection never gets a parser. */
static void turn_away(http_server *s)
{
    static char answer[] =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 70\r\n"
        "Retry-After: 1\r\nConnection: close\r\n\r\n"
        "{\"error\":\"too many connections\",\"hint\":\"Close idle ones or try later.\"}";
    uv_tcp_t *tcp = mem_zalloc(sizeof *tcp);
    uv_buf_t bytes = uv_buf_init(answer, sizeof answer - 1);

    if (!tcp)
        return;
    uv_tcp_init(s->loop, tcp);
    tcp->data = s;
    s->conn_count++;
    if (uv_accept((uv_stream_t *)&s->listener, (uv_stream_t *)tcp) == 0)
        uv_try_write((uv_stream_t *)tcp, &bytes, 1);
    uv_close((uv_handle_t *)tcp, turned_away_closed);
}

static void name_peer(http_conn *c)
{
    struct sockaddr_storage address;
    int size = sizeof address;
    char host[46] = "?";

    if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&address, &size))
        return;
    bool six = address.ss_family == AF_INET6;
    const struct sockaddr_in *four = (const struct sockaddr_in *)&address;
    uv_ip_name((const struct sockaddr *)&address, host, sizeof host);
    snprintf(c->peer, sizeof c->peer, six ? "[%s]:%u" : "%s:%u", host, (unsigned)ntohs(four->sin_port));
}

static http_conn *conn_new(http_server *s)
{
    http_conn *c = mem_zalloc(sizeof *c);

    if (!c)
        return NULL;
    c->server = s;
    c->phase = CONN_IDLE;
    c->pending = (buf)BUF_INIT(HTTP_PIPELINE_MAX + HTTP_READ_BYTES);
    c->out = (buf)BUF_INIT(HTTP_REPLY_MAX);
    c->codec = http1_codec_new(&(http_server_options){ .max_header_bytes = s->max_header_bytes }, (http1_events){ 0 });
    if (!c->codec) {
        mem_free(c);
        return NULL;
    }
    http1_codec_on_head(c->codec, conn_head_done, c);
    c->next = s->conns;
    if (s->conns)
        s->conns->prev = c;
    s->conns = c;
    s->conn_count++;
    return c;
}

void http_conn_accept(http_server *s)
{
    http_conn *c = s->conn_count < s->max_connections ? conn_new(s) : NULL;

    if (!c) {
        turn_away(s);
        return;
    }
    uv_tcp_init(s->loop, &c->tcp);
    uv_timer_init(s->loop, &c->timer);
    c->tcp.data = c->timer.data = c;
    c->open_handles = 2;
    if (uv_accept((uv_stream_t *)&s->listener, (uv_stream_t *)&c->tcp)) {
        http_conn_close(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    name_peer(c);
    conn_enter(c, CONN_HEAD);
    conn_read_on(c);
}
