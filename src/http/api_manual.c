/* The manual page safe-script-api(7), from the tables that serve the interface and describe it in /openapi.json. */
#include "front.h"
#include "limit.h"
#include "openapi.h"
#include "outcome.h"
#include "record.h"
#include "request.h"
#include "troff.h"

#include <stdio.h>

static void put_text(struct buffer *out, const char *text)
{
    char line[TROFF_LINE];
    buffer_print(out, "%s\n", troff_line(text, line));
}

static void put_item(struct buffer *out, const char *name, const char *help)
{
    buffer_print(out, ".TP\n.B ");
    put_text(out, name);
    put_text(out, help);
}

static void put_answer(struct buffer *out, const struct route_answer *answer)
{
    char name[128];
    snprintf(name, sizeof name, "%u%s%s", answer->http, answer->content_type ? " " : "",
             answer->content_type ? answer->content_type : "");
    put_item(out, name, answer->help);
}

static void put_routes(struct buffer *out)
{
    for (size_t i = 0; i < route_count; i++) {
        const struct route *route = &route_table[i];
        buffer_print(out, ".SS %s %s\n", method_names[route->method], route->path);
        put_text(out, route->help);
        if (route->open)
            buffer_print(out, ".br\nIt needs no key.\n");
        for (const struct route_header *header = route->headers; header && header->name; header++)
            put_item(out, header->name, header->help);
        for (const struct route_answer *answer = route->answers; answer->http; answer++)
            put_answer(out, answer);
    }
}

static void put_fields(struct buffer *out)
{
    buffer_print(out,
                 ".SH REQUEST\nA JSON object (application/json) of these fields, or the script itself as the body\n"
                 "(text/x\\-python). A field that is none of these is an error.\n");
    for (size_t i = 0; i < request_field_count; i++) {
        const struct request_field *field = &request_fields[i];
        put_item(out, field->name, field->type);
        buffer_print(out, "%s.br\n", field->required ? "(required)\n" : "");
        put_text(out, field->help);
    }
    buffer_print(out, ".SH LIMITS\nThe fields of limits. A request may lower what the server has, and raise none.\n");
    for (int i = 0; i < LIMIT_COUNT; i++) {
        char value[40];
        if (!limit_table[i].by_request)
            continue;
        put_item(out, limit_table[i].name, limit_table[i].help);
        buffer_print(out, "(the server's own by default: %s)\n",
                     limit_text((enum limit)i, limit_table[i].initial, value, sizeof value));
    }
    buffer_print(out, ".SH RUN RECORD\n");
    for (size_t i = 0; i < record_field_count; i++)
        put_item(out, record_fields[i].name, record_fields[i].help);
}

static void put_statuses(struct buffer *out)
{
    buffer_print(out, ".SH STATUSES\nHow a run ended, as its record has it, and the HTTP status of POST /execute.\n");
    for (int i = 0; i < STATUS_COUNT; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s (%u)", status_table[i].name, (unsigned)status_table[i].execute_http);
        put_item(out, name, status_table[i].help);
    }
}

static void put_errors(struct buffer *out)
{
    buffer_print(out, ".SH ERRORS\nRequests that became no run. Below /v1 as application/problem+json (RFC 9457),\n"
                      "elsewhere as {\"error\": TEXT}.\n");
    for (size_t i = 0; i < shared_error_count; i++) {
        char name[64];
        snprintf(name, sizeof name, "%u%s", shared_errors[i].http, shared_errors[i].retry ? ", with Retry-After" : "");
        put_item(out, name, shared_errors[i].help);
    }
}

void api_manual(struct buffer *out)
{
    buffer_print(out,
                 ".TH SAFE-SCRIPT-API 7 \"" SAFE_SCRIPT_DATE "\" \"safe-script " SAFE_SCRIPT_VERSION
                 "\" \"Miscellaneous\"\n"
                 ".SH NAME\nsafe-script-api \\- the HTTP interface of safe-script\n"
                 ".SH DESCRIPTION\nA client sends a script that defines main(); it runs in a jail of its own; the\n"
                 "answer holds what main() returned, as JSON, and what it printed. GET /openapi.json has all of\n"
                 "this for programs.\n.SH ROUTES\n");
    put_routes(out);
    put_fields(out);
    put_statuses(out);
    buffer_print(out, ".SH EVENTS\nOf a run's event stream (text/event\\-stream).\n");
    for (size_t i = 0; i < stream_event_count; i++)
        put_item(out, stream_events[i].name, stream_events[i].help);
    put_errors(out);
    buffer_print(out, ".SH EXAMPLE\n.nf\n");
    put_text(out, "curl http://127.0.0.1:8080/execute -H 'Content-Type: application/json' \\");
    put_text(out, "  -d '{\"script\": \"def main():\\n    return {\\\"message\\\": \\\"done\\\"}\"}'");
    buffer_print(out, ".fi\n.SH SEE ALSO\n.BR safe\\-script (1),\n.BR safe\\-script.conf (5)\n");
}
