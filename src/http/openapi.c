#include "openapi.h"

#include "front.h"
#include "json.h"
#include "outcome.h"
#include "record.h"
#include "request.h"
#include "scope.h"

#include <inttypes.h>
#include <string.h>

/* Errors that a route may answer with, whatever it is. */
const struct shared_error shared_errors[] = {
    {400, false, false, "the request is malformed: what is wrong, and where"},
    {401, false, false, "a key is needed, and there is none in Authorization", true},
    {403, false, false, "the key is not valid here", true},
    {408, false, false, "the request was not whole in time"},
    {411, false, false, "the body's Content-Length is missing, or there is a Transfer-Encoding"},
    {413, true, false, "the body is longer than the limit"},
    {414, false, false, "the path or the query is too long"},
    {415, true, false, "the content type, its charset or the content encoding is not one that is taken"},
    {417, false, false, "an expectation other than 100-continue"},
    {429, true, true,
     "the queue is full, no place came free in time, the key's rate is spent, or too many bodies are "
     "being received"},
    {431, false, false, "the headers are too long"},
    {503, false, true, "the server is starting or stopping, or has no room for this"},
    {505, false, false, "neither HTTP/1.1 nor HTTP/1.0"},
};
const size_t shared_error_count = COUNT(shared_errors);

static void put_literal(struct buffer *out, const char *text)
{
    for (const char *quote; (quote = strchr(text, '\'')); text = quote + 1) {
        buffer_append(out, text, (size_t)(quote - text));
        buffer_append(out, "\"", 1);
    }
    buffer_append(out, text, strlen(text));
}

static void put_member(struct buffer *out, const char *name, const char *value)
{
    buffer_print(out, "\"%s\":", name);
    json_put_string(out, text_span(value));
}

/* ---- schemas ---- */

/* "name":{"description":…, and what its row says}. */
static void put_property(struct buffer *out, bool first, const char *name, const char *help, const char *schema)
{
    buffer_print(out, "%s\"%s\":{", first ? "" : ",", name);
    put_member(out, "description", help);
    buffer_append(out, ",", *schema != 0);
    put_literal(out, schema);
    buffer_append(out, "}", 1);
}

static void put_required(struct buffer *out, bool first, const char *name)
{
    buffer_print(out, "%s\"%s\"", first ? "" : ",", name);
}

static void put_request(struct buffer *out, const struct environment_offers *offers)
{
    bool first = true;
    (void)offers;
    put_literal(out, "'type':'object','additionalProperties':false,'required':[");
    for (size_t i = 0; i < request_field_count; i++) {
        if (!request_fields[i].required)
            continue;
        put_required(out, first, request_fields[i].name);
        first = false;
    }
    put_literal(out, "],'properties':{");
    for (size_t i = 0; i < request_field_count; i++)
        put_property(out, i == 0, request_fields[i].name, request_fields[i].help, request_fields[i].schema);
    buffer_append(out, "}", 1);
}

static void put_run(struct buffer *out, const struct environment_offers *offers)
{
    (void)offers;
    put_literal(out, "'type':'object','additionalProperties':false,'required':[");
    for (size_t i = 0; i < record_field_count; i++)
        put_required(out, i == 0, record_fields[i].name);
    put_literal(out, "],'properties':{");
    for (size_t i = 0; i < record_field_count; i++)
        put_property(out, i == 0, record_fields[i].name, record_fields[i].help, record_fields[i].schema);
    buffer_append(out, "}", 1);
}

/* The highest that any environment has. */
static uint64_t most_of(const struct environment_offers *offers, int limit)
{
    uint64_t most = 0;
    for (size_t i = 0; i < ENVIRONMENT_ROWS; i++) {
        uint64_t value = offers->rows[i].offered ? offers->rows[i].limits.value[limit] : 0;
        most = value > most ? value : most;
    }
    return most;
}

static void put_limits(struct buffer *out, const struct environment_offers *offers)
{
    bool first = true;
    put_literal(out, "'type':'object','additionalProperties':false,'properties':{");
    for (int i = 0; i < LIMIT_COUNT; i++) {
        const struct limit_row *row = &limit_table[i];
        if (!row->by_request)
            continue;
        buffer_print(out, "%s\"%s\":{", first ? "" : ",", row->name);
        put_member(out, "description", row->help);
        buffer_print(out,
                     ",\"type\":\"integer\",\"minimum\":%" PRIu64 ",\"maximum\":%" PRIu64 ",\"default\":%" PRIu64 "}",
                     row->least, most_of(offers, i), offers->rows[ENVIRONMENT_DEFAULT].limits.value[i]);
        first = false;
    }
    buffer_append(out, "}", 1);
}

static void put_statuses(struct buffer *out, const struct environment_offers *offers)
{
    struct buffer help = {0};
    (void)offers;
    for (int i = 0; i < STATUS_COUNT; i++)
        buffer_print(&help, "%s%s: %s", i ? "; " : "", status_table[i].name, status_table[i].help);
    put_literal(out, "'type':'string','description':");
    json_put_string(out, (struct span){help.bytes, help.length});
    put_literal(out, ",'enum':[");
    for (int i = 0; i < STATUS_COUNT; i++)
        put_required(out, i == 0, status_table[i].name);
    buffer_append(out, "]", 1);
    out->failed |= help.failed;
    buffer_free(&help);
}

static void put_environments(struct buffer *out, const struct environment_offers *offers)
{
    put_literal(out, "'type':'string','enum':[");
    for (size_t i = 0; i < ENVIRONMENT_ROWS; i++) {
        if (offers->rows[i].offered)
            put_required(out, i == ENVIRONMENT_DEFAULT, offers->rows[i].name);
    }
    buffer_append(out, "]", 1);
}

#define COUNTED "{'type':'integer','minimum':0}"
#define KNOWN   "{'type':['integer','null'],'minimum':0}" /* null: this kernel does not tell */

/* Named schemas: text, or a function that writes it from a table. */
static const struct {
    const char *name;
    void (*put)(struct buffer *out, const struct environment_offers *offers);
    const char *text;
} schemas[] = {
    {"Request", put_request, NULL},
    {"Limits", put_limits, NULL},
    {"Environment", put_environments, NULL},
    {"FileContent", NULL,
     "'oneOf':[{'type':'string'},{'type':'object','additionalProperties':false,'required':['base64'],"
     "'properties':{'base64':{'type':'string','contentEncoding':'base64'}}}]"},
    {"Execution", NULL,
     "'type':'object','additionalProperties':false,'required':['result','stdout'],'properties':{"
     "'result':{'$ref':'#/components/schemas/Result'},"
     "'stdout':{'type':'string','description':'what it printed, without trailing newlines'},"
     "'stdout_truncated':{'const':true,'description':'there was more than output_bytes'}}"},
    {"Run", put_run, NULL},
    {"Status", put_statuses, NULL},
    {"Result", NULL, "'type':'object','description':'what main() returned'"},
    {"Progress", NULL,
     "'type':'object','additionalProperties':false,'required':['id','status','environment'],'properties':{"
     "'id':{'type':'string'},'status':{'enum':['queued','running']},"
     "'environment':{'type':'string'}}"},
    {"RunState", NULL, "'oneOf':[{'$ref':'#/components/schemas/Run'},{'$ref':'#/components/schemas/Progress'}]"},
    {"RunError", NULL,
     "'type':'object','additionalProperties':false,'required':['type','message','line','traceback'],'properties':{"
     "'type':{'type':'string','minLength':1,'description':'the class of the exception, or the status'},"
     "'message':{'type':'string'},'line':{'type':['integer','null'],'minimum':1},"
     "'traceback':{'type':['string','null']}}"},
    {"ReturnedFile", NULL,
     "'type':'object','additionalProperties':false,'required':['path','size','content'],'properties':{"
     "'path':{'type':'string','minLength':1},'size':" COUNTED
     ",'content':{'type':'string','contentEncoding':'base64'}}"},
    {"Denial", NULL,
     "'type':'object','additionalProperties':false,'required':['what','count','hint'],'properties':{"
     "'what':{'type':'string','minLength':1},'count':{'type':'integer','minimum':0},"
     "'hint':{'type':'string','minLength':1}}"},
    {"Usage", NULL,
     "'type':'object','additionalProperties':false,'required':['queued_ms','wall_ms','cpu_ms','memory_peak_bytes',"
     "'processes_peak','stdout_bytes'],'properties':{'queued_ms':" COUNTED ",'wall_ms':" COUNTED ",'cpu_ms':" COUNTED
     ",'memory_peak_bytes':" KNOWN ",'processes_peak':" KNOWN ",'stdout_bytes':" COUNTED "}"},
    {"RunJail", NULL,
     "'type':'object','additionalProperties':false,'required':['layers'],'properties':{"
     "'layers':{'type':'array','uniqueItems':true,'items':{'type':'string'}}}"},
    {"Jail", NULL,
     "'type':'object','required':['layers','attacks','walls','walls_needed','sufficient'],'properties':{"
     "'layers':{'type':'array','items':{'type':'object','required':['name','holds','gives','how','reason','hint',"
     "'takes_over'],'properties':{'name':{'type':'string'},'holds':{'type':'boolean'},'gives':{'type':'string'},"
     "'how':{'type':['string','null']},'reason':{'type':['string','null']},'hint':{'type':['string','null']},"
     "'takes_over':{'type':['string','null']}}}},"
     "'attacks':{'type':'array','items':{'type':'object','required':['class','walls','one'],'properties':{"
     "'class':{'type':'string'},'walls':{'type':'array','items':{'type':'string'}},'one':{'type':['string','null']}}}},"
     "'walls':{'type':'array','items':{'type':'string'}},"
     "'walls_needed':{'type':'integer','minimum':1},'sufficient':{'type':'boolean'}}"},
    {"Environments", NULL,
     "'type':'object','required':['environments'],'properties':{'environments':{'type':'array','items':{"
     "'type':'object','required':['name','interpreter','packages','warm','limits','reason','zygote'],'properties':{"
     "'name':{'type':'string'},'interpreter':{'type':'string'},"
     "'packages':{'type':'array','items':{'type':'object','required':['name','version'],'properties':{"
     "'name':{'type':'string'},'version':{'type':'string'}}}},"
     "'warm':{'type':'array','items':{'type':'string'},'description':'modules that are imported already'},"
     "'limits':{'type':'object','additionalProperties':{'type':'integer'},'description':'of its runs'},"
     "'reason':{'type':['string','null'],'description':'why its zygote cannot be had'},"
     "'zygote':{'enum':['down','warming','up','failed']}}}}}"},
    {"Health", NULL,
     "'type':'object','additionalProperties':false,'required':['status'],'properties':{'status':"
     "{'const':'ok'}}"},
    {"Readiness", NULL,
     "'type':'object','additionalProperties':false,'required':['status'],'properties':{'status':{'enum':["
     "'ready','starting','failing','draining']},'reason':{'type':'string','minLength':1,"
     "'description':'why it is not ready'}}"},
    {"OpenAPI", NULL,
     "'type':'object','required':['openapi','info','paths'],'properties':{'openapi':{'type':'string','pattern':"
     "'^3[.]1[.]'}}"},
    {"Error", NULL,
     "'type':'object','additionalProperties':false,'required':['error'],'properties':{'error':{'type':'string',"
     "'minLength':1,'pattern':'^[^\\\\r\\\\n]+$','description':'one line that the caller can act on'}}"},
    {"Problem", NULL,
     "'type':'object','description':'RFC 9457','required':['type','title','status','detail'],'properties':{"
     "'type':{'type':'string'},'title':{'type':'string','minLength':1},"
     "'status':{'type':'integer','minimum':400,'maximum':599},'detail':{'type':'string','minLength':1}}"},
};

static void put_schemas(struct buffer *out, const struct environment_offers *offers)
{
    for (size_t i = 0; i < COUNT(schemas); i++) {
        buffer_print(out, "%s\"%s\":{", i ? "," : "", schemas[i].name);
        if (schemas[i].put)
            schemas[i].put(out, offers);
        else
            put_literal(out, schemas[i].text);
        buffer_append(out, "}", 1);
    }
}

/* ---- events ---- */

#define TEXT                                                                                                           \
    "'type':'object','additionalProperties':false,'required':['text'],'properties':{'text':{'type':'string',"          \
    "'minLength':1}}"

const struct stream_event stream_events[] = {
    {"started", "'$ref':'#/components/schemas/Progress'",
     "a jail has taken the script; a second one: it begins anew, forget the output so far"},
    {"stdout", TEXT, "what it printed since"},
    {"stderr", TEXT, "the same for standard error"},
    {"result", "'$ref':'#/components/schemas/Result'", "what main() returned"},
    {"finished", "'$ref':'#/components/schemas/Run'", "the whole run record"},
};
const size_t stream_event_count = COUNT(stream_events);

static void put_events(struct buffer *out)
{
    put_literal(out, "'x-events':{");
    for (size_t i = 0; i < stream_event_count; i++) {
        buffer_print(out, "%s\"%s\":{", i ? "," : "", stream_events[i].name);
        put_member(out, "description", stream_events[i].help);
        put_literal(out, ",'schema':{");
        put_literal(out, stream_events[i].schema);
        put_literal(out, "}}");
    }
    buffer_append(out, "}", 1);
}

/* ---- answers ---- */

/* A member of "content". */
static void put_content(struct buffer *out, const char *content_type, const char *schema)
{
    buffer_print(out, "\"%s\":{\"schema\":{", content_type);
    if (schema)
        buffer_print(out, "\"$ref\":\"#/components/schemas/%s\"", schema);
    else
        put_literal(out, "'type':'string'");
    put_literal(out, "}}");
}

/* The errors once for each face: "error_400", "problem_400". */
static void put_errors(struct buffer *out)
{
    for (size_t i = 0; i < shared_error_count * 2; i++) {
        size_t row = i / 2;
        bool problem = i % 2;
        buffer_print(out, "%s\"%s_%u\":{", i ? "," : "", problem ? "problem" : "error", shared_errors[row].http);
        put_member(out, "description", shared_errors[row].help);
        if (shared_errors[row].retry)
            put_literal(out, ",'headers':{'Retry-After':{'description':'seconds','schema':{'type':'integer'}}}");
        put_literal(out, ",'content':{");
        put_content(out, problem ? "application/problem+json" : "application/json", problem ? "Problem" : "Error");
        put_literal(out, "}}");
    }
}

static bool has_own(const struct route *route, unsigned http)
{
    const struct route_answer *answer = route->answers;
    while (answer->http && answer->http != http)
        answer++;
    return answer->http;
}

/* The answers of one status; returns the one after them. */
static const struct route_answer *put_status(struct buffer *out, const struct route_answer *first)
{
    const struct route_answer *answer = first;
    struct buffer help = {0};
    for (; answer->http == first->http; answer++)
        buffer_print(&help, "%s%s", answer == first ? "" : "; ", answer->help);
    buffer_print(out, "\"%u\":{\"description\":", first->http);
    json_put_string(out, (struct span){help.bytes, help.length});
    out->failed |= help.failed;
    buffer_free(&help);
    put_literal(out, first->content_type ? ",'content':{" : "");
    for (answer = first; first->content_type && answer->http == first->http; answer++) {
        buffer_append(out, ",", answer != first);
        put_content(out, answer->content_type, answer->schema);
    }
    put_literal(out, first->content_type ? "}}" : "}");
    return answer + !first->content_type;
}

static void put_answers(struct buffer *out, const struct route *route)
{
    for (const struct route_answer *answer = route->answers; answer->http;) {
        buffer_append(out, ",", answer != route->answers);
        answer = put_status(out, answer);
    }
    for (size_t i = 0; i < shared_error_count; i++) {
        bool possible =
            (!shared_errors[i].body || route->method == METHOD_POST) && (!shared_errors[i].key || !route->open);
        if (possible && !has_own(route, shared_errors[i].http))
            buffer_print(out, ",\"%u\":{\"$ref\":\"#/components/responses/%s_%u\"}", shared_errors[i].http,
                         route->problem ? "problem" : "error", shared_errors[i].http);
    }
}

/* ---- routes ---- */

/* "post_v1_runs" */
static void put_operation_id(struct buffer *out, const char *method, const char *path)
{
    buffer_print(out, "\"operationId\":\"%s", method);
    for (; *path; path++) {
        bool letter = (*path >= 'a' && *path <= 'z') || (*path >= '0' && *path <= '9');
        buffer_append(out, letter ? path : "_", 1);
    }
    put_literal(out, "',");
}

static void put_parameters(struct buffer *out, const struct route *route)
{
    bool variable = strstr(route->path, "{id}");
    const char *comma = variable ? "," : "";
    put_literal(out, ",'parameters':[");
    if (variable)
        put_literal(out, "{'name':'id','in':'path','required':true,'schema':{'type':'string'}}");
    for (const struct route_header *header = route->headers; header && header->name; header++, comma = ",") {
        buffer_print(out, "%s{\"name\":\"%s\",\"in\":\"header\",", comma, header->name);
        put_member(out, "description", header->help);
        put_literal(out, ",'schema':{'type':'string'}}");
    }
    buffer_append(out, "]", 1);
}

static void put_operation(struct buffer *out, const struct route *route)
{
    char method[16] = "";
    for (size_t i = 0; method_names[route->method][i] && i + 1 < sizeof method; i++)
        method[i] = (char)(method_names[route->method][i] | 0x20);
    buffer_print(out, "\"%s\":{", method);
    put_operation_id(out, method, route->path);
    put_member(out, "summary", route->help);
    put_parameters(out, route);
    if (route->method == METHOD_POST)
        put_literal(out, ",'requestBody':{'required':true,'content':{"
                         "'application/json':{'schema':{'$ref':'#/components/schemas/Request'}},"
                         "'text/x-python':{'schema':{'type':'string','description':'the script itself'}}}}");
    put_literal(out, route->open ? ",'security':[],'responses':{" : ",'responses':{");
    put_answers(out, route);
    put_literal(out, "}}");
}

/* Rows of one path stand together, as its operations do here. */
static void put_paths(struct buffer *out)
{
    for (size_t i = 0; i < route_count; i++) {
        bool same = i > 0 && strcmp(route_table[i].path, route_table[i - 1].path) == 0;
        if (same)
            buffer_append(out, ",", 1);
        else
            buffer_print(out, "%s\"%s\":{", i ? "}," : "", route_table[i].path);
        put_operation(out, &route_table[i]);
    }
    buffer_append(out, "}", 1);
}

void openapi_document(const struct environment_offers *offers, struct buffer *out)
{
    put_literal(out,
                "{'openapi':'3.1.0','info':{'title':'safe-script','version':'" SAFE_SCRIPT_VERSION "',"
                "'summary':'runs untrusted Python scripts safely','description':'A script defines main(); it runs in "
                "a jail of its own; the answer holds what main() returned, as JSON, and what it printed. Paths that "
                "are not here give 404, other methods 405 with Allow; HEAD goes where GET goes. Every answer has "
                "an X-Request-Id: the one that the request brought, or a new one.',"
                "'license':{'name':'Apache-2.0','identifier':'Apache-2.0'}},"
                "'servers':[{'url':'/'}],'security':[{},{'key':[]}],'paths':{");
    put_paths(out);
    put_literal(out, "},'components':{'schemas':{");
    put_schemas(out, offers);
    put_literal(out, "},'responses':{");
    put_errors(out);
    put_literal(out,
                "},'securitySchemes':{'key':{'type':'http','scheme':'bearer','description':'needed where the server "
                "was given a keys file; safe-script key new makes one'}}},");
    put_events(out);
    buffer_append(out, "}", 1);
}
