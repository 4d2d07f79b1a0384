#include "front.h"
#include "head.h"
#include "origins.h"
#include "record.h"
#include "scope.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum {
    BODY_FIRST = 16 * 1024,
    RETRY_S = 1, /* Retry-After where nobody knows better */
};

/* ---- answers ---- */

static void add_header(struct MHD_Response **response, const char *name, const char *value)
{
    if (*response && value && MHD_add_response_header(*response, name, value) != MHD_YES) {
        MHD_destroy_response(*response);
        *response = NULL;
    }
}

static void answer_last(struct answer *answer)
{
    if (!answer->last)
        add_header(&answer->response, MHD_HTTP_HEADER_CONNECTION, "close");
    answer->last = true;
}

void exchange_answer(struct connection *connection, unsigned http, const char *content_type, struct buffer *body)
{
    struct MHD_Response *response = NULL;
    if (!body->failed)
        response = MHD_create_response_from_buffer(body->length, body->bytes, MHD_RESPMEM_MUST_FREE);
    if (response)
        *body = (struct buffer){0};
    buffer_free(body);
    exchange_respond(connection, http, content_type, response);
}

void exchange_respond(struct connection *connection, unsigned http, const char *content_type,
                      struct MHD_Response *response)
{
    struct answer *answer = &connection->exchange.answer;
    add_header(&response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    add_header(&response, "X-Content-Type-Options", "nosniff");
    *answer = (struct answer){.http = http, .response = response};
    if (connection->front->serving == SERVING_DRAINING)
        answer_last(answer);
}

void exchange_header(struct connection *connection, const char *name, const char *value)
{
    add_header(&connection->exchange.answer.response, name, value);
}

static void answer_error(struct connection *connection, unsigned http, const char *text)
{
    struct buffer body = {0};
    bool problem = connection->exchange.problem;
    if (problem)
        problem_body(http, MHD_get_reason_phrase_for(http), text, &body);
    else
        error_body(text, &body);
    exchange_answer(connection, http, problem ? "application/problem+json" : "application/json", &body);
}

void exchange_refuse(struct connection *connection, unsigned http, unsigned retry_after_s, const char *format, ...)
{
    char text[768], seconds[16];
    va_list arguments;
    if (connection->exchange.answer.http)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    answer_error(connection, http, text);
    snprintf(seconds, sizeof seconds, "%u", retry_after_s);
    if (retry_after_s)
        add_header(&connection->exchange.answer.response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
}

/* Hands the answer to libmicrohttpd. `whole`: nothing of the request is left to read. An answer to a request whose body
 * was not read ends the connection; libmicrohttpd sees to that. */
static enum MHD_Result queue_answer(struct connection *connection, bool whole)
{
    struct answer *answer = &connection->exchange.answer;
    access_headers(connection->front, connection);
    struct MHD_Response *response = take(answer->response);
    if (!response)
        return MHD_NO;
    metrics_answer(&connection->front->metrics, connection->exchange.route, answer->http);
    connection->exchange.state = STATE_SENT;
    connection->whole = whole;
    connection_phase(connection, PHASE_SENDING);
    enum MHD_Result result = MHD_queue_response(connection->mhd, answer->http, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- the head ---- */

/* The target without the scheme and authority of its absolute form (RFC 9112, 3.2.2: to be taken from any client, by
 * TLS as well): its path, which may be empty, and its query. */
static const char *target_path(const char *uri)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < COUNT(schemes); i++) {
        size_t length = strlen(schemes[i]);
        if (strncasecmp(uri, schemes[i], length) == 0)
            return uri + length + strcspn(uri + length, "/?");
    }
    return uri;
}

/* libmicrohttpd's first word of a request: its target as it came, before anything in it is changed. */
static void *on_uri(void *context, const char *uri, struct MHD_Connection *mhd)
{
    struct front *front = context;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct connection *connection = info ? info->socket_context : NULL;
    (void)front;
    if (!connection || !uri)
        return NULL;
    struct exchange *exchange = &connection->exchange;
    const char *path = target_path(uri);
    size_t length = strcspn(path, "?");
    *exchange = (struct exchange){.state = STATE_HEAD, .uri = uri, .uri_length = strlen(uri)};
    exchange->uri_bad = !head_uri_fine(uri, exchange->uri_length);
    struct span id;
    exchange->route = length ? route_find(path, length, &id) : route_find("/", 1, &id);
    if (id.length < sizeof exchange->name && id.length)
        memcpy(exchange->name, id.bytes, id.length);
    exchange->problem = route_is_problem(path, length);
    if (path[length] == '?' && path[length + 1])
        snprintf(exchange->query, sizeof exchange->query, "%.*s", (int)strcspn(path + length + 1, "=&"),
                 path + length + 1);
    if (exchange->uri_length > URI_BYTES || strlen(path + length) > QUERY_BYTES)
        connection_refuse(connection, MHD_HTTP_URI_TOO_LONG, "the request's path or query is too long");
    else if (connection->phase != PHASE_READING) /* a first head that came in pieces: its time runs already */
        connection_phase(connection, PHASE_READING);
    return connection;
}

static void refuse_method(struct connection *connection, const char *method)
{
    const struct route *route = connection->exchange.route;
    char allow[64], text[224];
    route_allow(route, allow, sizeof allow);
    snprintf(text, sizeof text, "the method %.32s is not allowed on %s: use %s", method, route->path, allow);
    answer_error(connection, MHD_HTTP_METHOD_NOT_ALLOWED, text);
    add_header(&connection->exchange.answer.response, MHD_HTTP_HEADER_ALLOW, allow);
}

/* For more of requests' bodies; a reload may have lowered the limit below what is held. */
static uint64_t buffer_room(const struct front *front)
{
    uint64_t most = front->setup.buffered_bytes;
    return front->buffered < most ? most - front->buffered : 0;
}

/* What a request with a body must have before a byte of it is read. */
static void check_body(struct front *front, struct connection *connection, const struct head *head)
{
    const char *encoding = head->value[HEADER_CONTENT_ENCODING];
    uint64_t most = front->setup.limits.value[LIMIT_REQUEST];
    struct request_error error;
    char text[40];
    if (!head->value[HEADER_CONTENT_LENGTH]) {
        /* What follows may be a body all the same. */
        exchange_refuse(connection, MHD_HTTP_LENGTH_REQUIRED, 0, "the body's Content-Length is missing");
        answer_last(&connection->exchange.answer);
    } else if (encoding && strcasecmp(encoding, "identity") != 0)
        exchange_refuse(connection, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, 0,
                        "content encoding \"%.64s\" is not supported: send the body as it is", encoding);
    else if (!request_type_known(head->value[HEADER_CONTENT_TYPE], &error))
        exchange_refuse(connection, error.http, 0, "%s", error.text);
    else if (front->serving != SERVING_READY)
        exchange_refuse(connection, MHD_HTTP_SERVICE_UNAVAILABLE, RETRY_S,
                        front->serving == SERVING_DRAINING ? "the server is stopping" : "the server is starting");
    else if (head->content_length > most)
        exchange_refuse(connection, MHD_HTTP_CONTENT_TOO_LARGE, 0, "request body is larger than the limit of %s",
                        limit_text(LIMIT_REQUEST, most, text, sizeof text));
    else if (head->content_length > buffer_room(front))
        exchange_refuse(connection, MHD_HTTP_TOO_MANY_REQUESTS, RETRY_S, "too many request bodies are being received");
}

static void check_request(struct front *front, struct connection *connection, const struct head *head, const char *url,
                          const char *method)
{
    struct exchange *exchange = &connection->exchange;
    const struct route *route = exchange->route ? route_for(exchange->route, method) : NULL;
    exchange->origin = origins_allow(front->setup.cors_origins, head->value[HEADER_ORIGIN]);
    if (access_preflight(front, connection, head, method))
        return;
    access_check(front, connection, head);
    if (exchange->answer.http)
        return;
    if (!exchange->route)
        exchange_refuse(connection, MHD_HTTP_NOT_FOUND, 0, "there is no %.128s here: GET / lists what there is", url);
    else if (!route)
        refuse_method(connection, method);
    else if (*exchange->query)
        exchange_refuse(connection, MHD_HTTP_BAD_REQUEST, 0, "unknown query parameter \"%s\"", exchange->query);
    else if (route->method == METHOD_POST)
        check_body(front, connection, head);
    else if (head->content_length)
        exchange_refuse(connection, MHD_HTTP_BAD_REQUEST, 0, "%s takes no body", method);
    exchange->route = route ? route : exchange->route;
    exchange->head_only = strcmp(method, "HEAD") == 0;
    exchange->content_type = head->value[HEADER_CONTENT_TYPE];
    exchange->last_event_id = head->value[HEADER_LAST_EVENT_ID];
    exchange->wishes = head->wishes;
    exchange->content_length = head->content_length;
}

static enum MHD_Result on_head(struct front *front, struct connection *connection, const char *url, const char *method,
                               const char *version)
{
    struct exchange *exchange = &connection->exchange;
    struct head head;
    struct head_fault fault;
    exchange->state = STATE_BODY;
    int result = head_read(connection->mhd, method, version, exchange, front->lax_parser, &head, &fault);
    access_name(exchange->request_id, head.value[HEADER_REQUEST_ID]);
    if (result) {
        exchange_refuse(connection, fault.http, 0, "%s", fault.text);
        answer_last(&exchange->answer);
        return queue_answer(connection, false);
    }
    check_request(front, connection, &head, url, method);
    if (!exchange->answer.http)
        return MHD_YES;
    /* An answer that is given now ends the connection; where there is no body to skip it can wait for the next call. */
    return exchange->answer.last || head.content_length ? queue_answer(connection, false) : MHD_YES;
}

/* ---- the body ---- */

static void body_free(struct front *front, struct exchange *exchange)
{
    front->buffered -= exchange->body_length;
    free(take(exchange->body));
    exchange->body_length = exchange->body_capacity = 0;
}

static bool body_room(struct exchange *exchange, size_t more)
{
    size_t need = exchange->body_length + more, capacity = exchange->body_capacity * 2;
    if (need <= exchange->body_capacity)
        return true;
    capacity = capacity < BODY_FIRST ? BODY_FIRST : capacity;
    capacity = capacity < need ? need : capacity;
    /* A body that was announced has its exact length in the end, but memory only for what has come. */
    capacity = capacity > exchange->content_length ? exchange->content_length : capacity;
    uint8_t *body = capacity >= need ? realloc(exchange->body, capacity) : NULL;
    if (!body)
        return false;
    exchange->body = body;
    exchange->body_capacity = capacity;
    return true;
}

static void on_body(struct front *front, struct connection *connection, const char *data, size_t size)
{
    struct exchange *exchange = &connection->exchange;
    if (exchange->answer.http)
        return; /* refused: the rest is read only to find the request's end */
    if (size > buffer_room(front)) {
        exchange_refuse(connection, MHD_HTTP_TOO_MANY_REQUESTS, RETRY_S, "too many request bodies are being received");
    } else if (!body_room(exchange, size)) {
        exchange_refuse(connection, MHD_HTTP_SERVICE_UNAVAILABLE, RETRY_S, "out of memory");
    } else {
        memcpy(exchange->body + exchange->body_length, data, size);
        exchange->body_length += size;
        front->buffered += size;
        return;
    }
    body_free(front, exchange);
}

/* ---- libmicrohttpd's callbacks ---- */

static enum MHD_Result on_whole(struct front *front, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    if (!exchange->answer.http) {
        if (connection->gone && exchange->route->method == METHOD_POST)
            return MHD_NO;
        exchange->route->handle(front, connection);
        body_free(front, exchange);
    }
    if (exchange->answer.http)
        return queue_answer(connection, true);
    exchange->state = STATE_WORK;
    exchange_sleep(connection, PHASE_WORKING);
    return MHD_YES;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *mhd, const char *url, const char *method,
                                  const char *version, const char *data, size_t *size, void **request)
{
    struct front *front = context;
    struct connection *connection = *request;
    (void)mhd;
    if (!connection || connection->phase == PHASE_CLOSING)
        return MHD_NO;
    switch (connection->exchange.state) {
    case STATE_HEAD:
        return on_head(front, connection, url, method, version);
    case STATE_BODY:
        if (*size == 0)
            return on_whole(front, connection);
        on_body(front, connection, data, *size);
        *size = 0;
        return MHD_YES;
    case STATE_WORK: /* woken: with an answer, or because there will be none */
        return queue_answer(connection, true);
    case STATE_SENT:
        break;
    }
    return MHD_NO;
}

/* Once for each on_uri(), whatever became of the request. */
static void on_completed(void *context, struct MHD_Connection *mhd, void **request,
                         enum MHD_RequestTerminationCode code)
{
    struct connection *connection = *request;
    (void)mhd, (void)code;
    *request = NULL;
    if (!connection)
        return;
    exchange_end(context, connection);
    if (connection->phase != PHASE_CLOSING)
        connection_phase(connection, PHASE_IDLE);
    if (connection->gone)
        connection_reap(connection);
}

void exchange_end(struct front *front, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    if (exchange->flight)
        flight_abandon(front, take(exchange->flight));
    follow_end(front, connection);
    scrape_end(front, connection);
    if (exchange->answer.response)
        MHD_destroy_response(exchange->answer.response);
    body_free(front, exchange);
    *exchange = (struct exchange){0};
}

/* libmicrohttpd does not look at suspended connections, so one that sleeps is woken to find its end. A stream that is
 * being sent may still reach a client that only hung up its own side, but a run of its own goes no further. */
void exchange_hung_up(struct front *front, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    if (exchange->flight)
        flight_abandon(front, take(exchange->flight));
    /* libmicrohttpd goes on sending to who has half closed, and waits for ever where that one reads no more. */
    if (exchange->follow.owns && !exchange->asleep)
        shutdown(connection->fd, SHUT_RDWR);
    if (exchange->asleep || exchange->follow.owns)
        follow_end(front, connection);
    exchange_wake(front, connection);
}

void exchange_sleep(struct connection *connection, enum phase phase)
{
    connection_phase(connection, phase);
    connection->exchange.asleep = true;
    MHD_suspend_connection(connection->mhd);
}

void exchange_wake(struct front *front, struct connection *connection)
{
    if (!connection->exchange.asleep)
        return;
    connection->exchange.asleep = false;
    MHD_resume_connection(connection->mhd);
    front->run_mhd = true;
}

/* The parts of a target are compared as they came: nothing is unescaped. */
static size_t keep_escapes(void *context, struct MHD_Connection *mhd, char *text)
{
    (void)context, (void)mhd;
    return strlen(text);
}

int exchange_open(struct front *front)
{
    /* One daemon that we give accepted sockets to: libmicrohttpd's own accept() copies a Unix peer's address by the
     * length that the kernel reports, past the end of its variable (0.9.75), and cannot close an idle connection for a
     * new one. TURBO: try to read at once; and no shutdown() before close(), which connection_notify() does where it
     * matters. */
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_TURBO;
#if MHD_VERSION >= 0x00097707
    /* Else MHD_add_connection() only queues the connection, and connection_notify() is late. We are one thread. */
    flags |= MHD_USE_NO_THREAD_SAFETY;
#endif
    front->lax_parser = strncmp(MHD_get_version(), "0.", 2) == 0;
    front->daemon =
        MHD_start_daemon(flags, 0, NULL, NULL, on_request, front, MHD_OPTION_NOTIFY_COMPLETED, on_completed, front,
                         MHD_OPTION_NOTIFY_CONNECTION, connection_notify, front, MHD_OPTION_URI_LOG_CALLBACK, on_uri,
                         front, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, front, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                         (size_t)CONNECTION_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT, 0U, MHD_OPTION_CONNECTION_LIMIT,
                         front->most_connections + 1024U,
                         /* Before 1.0 head.c is stricter, and answers in JSON. */
                         MHD_OPTION_STRICT_FOR_CLIENT, front->lax_parser ? 0 : 1, MHD_OPTION_END);
    return front->daemon ? 0 : -1;
}
