#include "front.h"
#include "openapi.h"
#include "scope.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void answer_constant(struct connection *connection, const struct constant *constant)
{
    size_t length = constant->body.length;
    exchange_respond(connection, constant->http, constant->content_type,
                     MHD_create_response_from_buffer(length, constant->body.bytes, MHD_RESPMEM_MUST_COPY));
}

static void healthz(struct front *front, struct connection *connection)
{
    answer_constant(connection, &front->constants[CONSTANT_HEALTHY]);
}

static void jail(struct front *front, struct connection *connection)
{
    answer_constant(connection, &front->constants[CONSTANT_JAIL]);
}

static void environments(struct front *front, struct connection *connection)
{
    static const char *const names[] = {[ENVIRONMENT_DOWN] = "down",
                                        [ENVIRONMENT_WARMING] = "warming",
                                        [ENVIRONMENT_UP] = "up",
                                        [ENVIRONMENT_FAILED] = "failed"};
    struct buffer body = {0};
    const char *separator = "";
    buffer_print(&body, "{\"environments\":[");
    for (size_t i = 0; i < ENVIRONMENT_ROWS; i++) {
        if (!front->environments.rows[i].offered)
            continue;
        buffer_print(&body, "%s", separator);
        buffer_append(&body, front->described_at[i].bytes, front->described_at[i].length);
        buffer_print(&body, ",\"zygote\":\"%s\"}", names[front->states[i] < COUNT(names) ? front->states[i] : 0]);
        separator = ",";
    }
    buffer_print(&body, "]}");
    exchange_answer(connection, MHD_HTTP_OK, "application/json", &body);
}

static void start_page(struct front *front, struct connection *connection)
{
    answer_constant(connection, &front->constants[CONSTANT_INDEX]);
}

static void openapi(struct front *front, struct connection *connection)
{
    answer_constant(connection, &front->constants[CONSTANT_OPENAPI]);
}

static const char json[] = "application/json", problem[] = "application/problem+json", events[] = "text/event-stream",
                  plain[] = "text/plain; charset=utf-8";
#define ANSWERS(...) ((const struct route_answer[]){__VA_ARGS__, {0}})
#define HEADERS(...) ((const struct route_header[]){__VA_ARGS__, {0}})

const struct route route_table[] = {
    {METHOD_POST, false, false, "/execute", flight_start, "run a script, answer with its result and stdout",
     ANSWERS({200, json, "Execution", "main() returned an object"},
             {400, json, "Error", "the request is malformed, or the script failed: what, where, and which limit"},
             {500, json, "Error", "the server lost the run; it is safe to send it again"})},
    {METHOD_POST, true, true, "/v1/runs", flight_start, "run a script, answer with the whole run record",
     ANSWERS({200, json, "Run", "a run took place; its own failure is in status"},
             {200, events, NULL, "its events as they happen, when Accept wants text/event-stream"},
             {202, json, "RunState", "with Prefer: respond-async: it will run; Location says where to ask for it"}),
     HEADERS({"Prefer", "respond-async: answer once the run has its place in the queue"})},
    {METHOD_GET, true, false, "/v1/runs/{id}", run_state, "the record of a run that was streamed or asynchronous",
     ANSWERS({200, json, "RunState", "the record, or until the run is over how far it is"},
             {404, problem, "Problem", "there is no such run, or it is somebody else's"},
             {410, problem, "Problem", "its record is not kept, or no longer"})},
    {METHOD_DELETE, true, false, "/v1/runs/{id}", run_delete, "cancel a run, or forget one that is over",
     ANSWERS({200, json, "Run", "it was cancelled, and its whole jail is dead: the record"},
             {204, NULL, NULL, "it was over: its record is forgotten"},
             {404, problem, "Problem", "there is no such run, or it is somebody else's"},
             {410, problem, "Problem", "its record is not kept, or no longer"})},
    {METHOD_GET, true, false, "/v1/runs/{id}/events", run_events, "the events of such a run, as they happen",
     ANSWERS({200, events, NULL, "the events after Last-Event-ID, or all of them, until the run is over"},
             {204, NULL, NULL, "the run is over, and that was its last event"},
             {404, problem, "Problem", "there is no such run, or it is somebody else's"},
             {410, problem, "Problem", "its record is not kept, or no longer"},
             {429, problem, "Problem", "a hundred others follow it"}),
     HEADERS({"Last-Event-ID", "the id of the last event that the client has seen"})},
    {METHOD_GET, true, false, "/v1/jail", jail, "the layers of the jail: which hold here, and why not",
     ANSWERS({200, json, "Jail", "as found when the server started"})},
    {METHOD_GET, true, false, "/v1/environments", environments, "the environments that scripts can ask for",
     ANSWERS({200, json, "Environments", "each with its packages, limits and what is warm"})},
    {METHOD_GET, false, false, "/healthz", healthz, "200 while the process serves",
     ANSWERS({200, json, "Health", "it does"}), .open = true},
    {METHOD_GET, false, false, "/readyz", readyz, "200 when a script of ours was just run, else 503",
     ANSWERS({200, json, "Readiness", "scripts can be run"}, {503, json, "Readiness", "not now: the reason"}),
     .open = true},
    {METHOD_GET, false, false, "/metrics", scrape, "what there is to watch, for Prometheus",
     ANSWERS({200, METRICS_TYPE, NULL, "every metric, in the text format 0.0.4"})},
    {METHOD_GET, false, false, "/openapi.json", openapi, "this interface, as an OpenAPI 3.1 document",
     ANSWERS({200, json, "OpenAPI", "the document"})},
    {METHOD_GET, false, false, "/", start_page, "the routes, for people", ANSWERS({200, plain, NULL, "a list"})},
};
const size_t route_count = COUNT(route_table);

const char *const method_names[METHOD_COUNT] = {
    [METHOD_GET] = "GET", [METHOD_POST] = "POST", [METHOD_DELETE] = "DELETE"};

static bool path_matches(const char *pattern, struct span path, struct span *id)
{
    static const char variable[] = "{id}";
    const char *open = strstr(pattern, variable);
    size_t before = open ? (size_t)(open - pattern) : strlen(pattern);
    if (path.length < before || memcmp(path.bytes, pattern, before) != 0)
        return false;
    struct span rest = {path.bytes + before, path.length - before};
    if (!open)
        return rest.length == 0;
    const uint8_t *slash = memchr(rest.bytes, '/', rest.length);
    *id = (struct span){rest.bytes, slash ? (size_t)(slash - rest.bytes) : rest.length};
    const char *after = open + strlen(variable);
    return id->length > 0 && rest.length - id->length == strlen(after) &&
           memcmp(rest.bytes + id->length, after, strlen(after)) == 0;
}

const struct route *route_find(const char *path, size_t length, struct span *id)
{
    for (size_t i = 0; i < route_count; i++) {
        *id = (struct span){NULL, 0};
        if (path_matches(route_table[i].path, (struct span){(const uint8_t *)path, length}, id))
            return &route_table[i];
    }
    return NULL;
}

static const struct route *next_of_path(const struct route *route)
{
    const struct route *next = route + 1;
    return next < route_table + route_count && strcmp(next->path, route->path) == 0 ? next : NULL;
}

const struct route *route_for(const struct route *first, const char *method)
{
    const char *name = strcmp(method, "HEAD") == 0 ? method_names[METHOD_GET] : method;
    while (first && strcmp(method_names[first->method], name) != 0)
        first = next_of_path(first);
    return first;
}

const char *route_allow(const struct route *first, char *text, size_t size)
{
    size_t used = 0;
    for (const struct route *route = first; route && used < size; route = next_of_path(route))
        used += (size_t)snprintf(text + used, size - used, "%s%s", route == first ? "" : ", ",
                                 route->method == METHOD_GET ? "GET, HEAD" : method_names[route->method]);
    return text;
}

bool route_is_problem(const char *path, size_t length)
{
    return length >= 4 && memcmp(path, "/v1/", 4) == 0;
}

/* ---- the constant answers ---- */

static void index_text(struct buffer *out)
{
    static const char head[] =
        "safe-script " SAFE_SCRIPT_VERSION
        " runs a Python script in a jail and answers with what its main() returns.\n\n"
        "  curl -H 'Content-Type: text/x-python' --data-binary @script.py http://HOST:PORT/execute\n\n";
    buffer_append(out, head, strlen(head));
    for (size_t i = 0; i < route_count; i++) {
        char line[160];
        int length = snprintf(line, sizeof line, "  %-6s %-20s %s\n", method_names[route_table[i].method],
                              route_table[i].path, route_table[i].help);
        buffer_append(out, line, (size_t)length);
    }
}

static int read_file(int fd, struct buffer *out)
{
    char bytes[4096];
    ssize_t length;
    off_t at = 0;
    while ((length = pread(fd, bytes, sizeof bytes, at)) > 0) {
        buffer_append(out, bytes, (size_t)length);
        at += length;
    }
    return length < 0 || out->failed ? -1 : 0;
}

/* Takes body; the old one stays where the new one failed. */
static int make_constant(struct front *front, enum constant_answer which, unsigned http, const char *content_type,
                         struct buffer *body)
{
    struct buffer fresh = *body;
    *body = (struct buffer){0};
    if (fresh.failed) {
        buffer_free(&fresh);
        return -1;
    }
    buffer_free(&front->constants[which].body);
    front->constants[which] = (struct constant){http, content_type, fresh};
    return 0;
}

/* What the supervisor wrote: the body of /v1/jail, then an environment in each line. */
static int read_description(struct front *front, int fd)
{
    struct buffer text = {0}, body = {0};
    if (read_file(fd, &text)) {
        buffer_free(&text);
        return -1;
    }
    const uint8_t *at = text.bytes, *end;
    for (size_t i = 0; i <= ENVIRONMENT_ROWS; i++, at = end + 1) {
        size_t left = text.length - (size_t)(at - text.bytes);
        if (!left || !(end = memchr(at, '\n', left)))
            break;
        if (i > 0)
            front->described_at[i - 1] = (struct span){at, (size_t)(end - at)};
        else
            buffer_append(&body, at, (size_t)(end - at));
    }
    buffer_free(&front->described);
    front->described = text;
    return make_constant(front, CONSTANT_JAIL, 200, "application/json", &body);
}

int routes_settings(struct front *front, int description)
{
    struct buffer body = {0};
    openapi_document(&front->environments, &body);
    return make_constant(front, CONSTANT_OPENAPI, 200, "application/json", &body)
               ? -1
               : read_description(front, description);
}

int routes_open(struct front *front, int description)
{
    static const struct {
        enum constant_answer which;
        unsigned http;
        const char *body;
    } fixed[] = {
        {CONSTANT_HEALTHY, 200, "{\"status\":\"ok\"}"},
    };
    struct buffer body = {0};
    for (size_t i = 0; i < COUNT(fixed); i++) {
        buffer_append(&body, fixed[i].body, strlen(fixed[i].body));
        if (make_constant(front, fixed[i].which, fixed[i].http, "application/json", &body))
            return -1;
    }
    index_text(&body);
    if (make_constant(front, CONSTANT_INDEX, 200, "text/plain; charset=utf-8", &body))
        return -1;
    return routes_settings(front, description);
}

void routes_close(struct front *front)
{
    for (size_t i = 0; i < CONSTANT_COUNT; i++)
        buffer_free(&front->constants[i].body);
    buffer_free(&front->described);
}
