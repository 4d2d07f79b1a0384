#include "request.h"

#include "imports.h"
#include "outcome.h"
#include "scope.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* A request while it is being checked. */
struct request_work {
    const struct environment_offers *offers;
    const struct limits *most;
    struct limits server; /* the environment's, and no more than those */
    bool named;
    struct request *request;
    struct request_error *error;
    uint64_t file_bytes;
};

enum { SHOWN = 120, FIELDS_MOST = 16 };

/* --- errors ------------------------------------------------------------------------------------------------------ */

__attribute__((format(printf, 3, 4))) static int refuse(struct request_error *error, unsigned http, const char *format,
                                                        ...)
{
    char text[2 * sizeof error->text];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    error->http = http;
    text_one_line(error->text, sizeof error->text, text_span(text));
    return -1;
}

static int refuse_memory(struct request_error *error)
{
    return refuse(error, 503, "the server is out of memory");
}

/* A stranger's text as an error may show it: one line, not long. Returns text. */
static const char *shown(struct span from, char text[SHOWN])
{
    text_one_line(text, SHOWN, from);
    return text;
}

static const char *shown_json(const struct json_value *string, char text[SHOWN])
{
    struct buffer plain = {0};
    bool surrogates;
    json_unescape(string, &plain, &surrogates);
    text_one_line(text, SHOWN, (struct span){plain.bytes, plain.length});
    buffer_free(&plain);
    return text;
}

/* Levenshtein distance without regard to case; 99 when it is too far to be a slip of the finger. */
static unsigned distance(const char *from, const char *to)
{
    unsigned row[33];
    size_t length = strlen(to);
    if (length >= COUNT(row) || strlen(from) > length + 2)
        return 99;
    for (unsigned j = 0; j <= length; j++)
        row[j] = j;
    for (unsigned i = 1; from[i - 1]; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= length; j++) {
            unsigned replaced = diagonal + (strncasecmp(&from[i - 1], &to[j - 1], 1) != 0);
            unsigned inserted = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = replaced < inserted ? replaced : inserted;
        }
    }
    return row[length] <= 2 && row[length] <= length / 2 ? row[length] : 99;
}

/* Refuses an unknown name: with the nearest of the known ones if one is near, else with all of them. */
static int refuse_unknown(struct request_error *error, const char *kind, const char *within, const char *name,
                          const char *const known[])
{
    const char *nearest = NULL;
    unsigned least = 99;
    char all[256] = "";
    for (size_t i = 0; known[i]; i++) {
        unsigned apart = distance(name, known[i]);
        if (apart < least) {
            least = apart;
            nearest = known[i];
        }
        size_t used = strlen(all);
        snprintf(all + used, sizeof all - used, "%s\"%s%s\"", i ? ", " : "", within, known[i]);
    }
    if (nearest)
        return refuse(error, 400, "unknown %s \"%s%s\" (did you mean \"%s%s\"?)", kind, within, name, within, nearest);
    return refuse(error, 400, "unknown %s \"%s%s\" (known: %s)", kind, within, name, all);
}

/* --- paths ------------------------------------------------------------------------------------------------------- */

/* Why one part of a path is not one, or NULL. */
static const char *part_fault(struct span part)
{
    if (part.length == 0)
        return "has an empty part";
    if (part.length == 1 && part.bytes[0] == '.')
        return "has a part \".\"";
    if (part.length == 2 && part.bytes[0] == '.' && part.bytes[1] == '.')
        return "has a part \"..\"";
    return part.length > PATH_PART_BYTES ? "has a part of more than 255 bytes" : NULL;
}

const char *path_fault(struct span path)
{
    unsigned parts = 0;
    _Static_assert(PATH_BYTES == 1024 && PATH_PART_BYTES == 255 && PATH_DEPTH == 16, "the wording here and above");
    if (path.length == 0)
        return "is empty";
    if (path.length > PATH_BYTES)
        return "is longer than 1024 bytes";
    if (path.bytes[0] == '/')
        return "is absolute";
    if (path.bytes[path.length - 1] == '/')
        return "ends with a slash";
    if (memchr(path.bytes, 0, path.length))
        return "holds a NUL character";
    if (utf8_prefix(path) < path.length)
        return "is not valid UTF-8";
    for (size_t at = 0; at <= path.length; parts++) {
        const uint8_t *start = path.bytes + at, *slash = memchr(start, '/', path.length - at);
        struct span part = {start, slash ? (size_t)(slash - start) : path.length - at};
        const char *fault = part_fault(part);
        if (fault)
            return fault;
        at += part.length + 1;
    }
    return parts > PATH_DEPTH ? "has more than 16 parts" : NULL;
}

/* Order of paths in which a directory's name comes right before what is in it: '/' sorts first. */
static int compare_paths(struct span a, struct span b)
{
    size_t common = a.length < b.length ? a.length : b.length;
    for (size_t i = 0; i < common; i++) {
        unsigned left = a.bytes[i] == '/' ? 0 : a.bytes[i], right = b.bytes[i] == '/' ? 0 : b.bytes[i];
        if (left != right)
            return left < right ? -1 : 1;
    }
    return a.length == b.length ? 0 : a.length < b.length ? -1 : 1;
}

/* Shell sort: no allocation, and no worst case that matters at REQUEST_FILES. */
static void sort_paths(struct span *paths, size_t count)
{
    static const size_t gaps[] = {701, 301, 132, 57, 23, 10, 4, 1};
    for (size_t g = 0; g < COUNT(gaps); g++) {
        for (size_t i = gaps[g]; i < count; i++) {
            struct span path = paths[i];
            size_t j = i;
            for (; j >= gaps[g] && compare_paths(paths[j - gaps[g]], path) > 0; j -= gaps[g])
                paths[j] = paths[j - gaps[g]];
            paths[j] = path;
        }
    }
}

/* Refuses files that are also directories of others. The job's FILE_PATH frames are the list. */
static int check_directories(const struct request_work *work)
{
    struct span paths[REQUEST_FILES], rest = {work->request->job.bytes, work->request->job.length};
    struct frame frame;
    size_t count = 0;
    while (frame_next(&rest, &frame) > 0) {
        if (frame.tag == FRAME_FILE_PATH)
            paths[count++] = frame.data;
    }
    sort_paths(paths, count);
    for (size_t i = 1; i < count; i++) {
        struct span file = paths[i - 1], other = paths[i];
        char first[SHOWN], second[SHOWN];
        if (other.length > file.length && other.bytes[file.length] == '/' &&
            memcmp(file.bytes, other.bytes, file.length) == 0)
            return refuse(work->error, 400, "field \"files\": path \"%s\" is also a directory of \"%s\"",
                          shown(file, first), shown(other, second));
    }
    return 0;
}

/* --- the fields -------------------------------------------------------------------------------------------------- */

static int parse_script(struct request_work *work, const struct json_value *value)
{
    struct buffer plain = {0};
    bool surrogates;
    if (value->type != JSON_STRING)
        return refuse(work->error, 400, "field \"script\" must be a string");
    json_unescape(value, &plain, &surrogates); /* surrogates go on as they are: compiling them is the run's to refuse */
    buffer_append_frame(&work->request->job, FRAME_SCRIPT, plain.bytes, plain.length);
    work->request->job.failed |= plain.failed;
    buffer_free(&plain);
    return 0;
}

static int parse_input(struct request_work *work, const struct json_value *value)
{
    buffer_append_frame(&work->request->job, FRAME_INPUT, value->text.bytes, value->text.length);
    return 0;
}

static int parse_stdin(struct request_work *work, const struct json_value *value)
{
    bool surrogates;
    if (value->type != JSON_STRING)
        return refuse(work->error, 400, "field \"stdin\" must be a string");
    json_unescape(value, &work->request->stdin_bytes, &surrogates);
    if (surrogates)
        return refuse(work->error, 400, "field \"stdin\" holds a lone surrogate, which UTF-8 cannot hold");
    work->request->has_stdin = true;
    return 0;
}

/* The string within {"base64": "…"}; false when the value is anything else. */
static bool base64_member(const struct json_value *value, struct json_value *content)
{
    struct json_value key, more;
    size_t at = 0;
    return value->type == JSON_OBJECT && json_next(value, &at, &key, content) && json_is(&key, "base64") &&
           content->type == JSON_STRING && !json_next(value, &at, &key, &more);
}

/* Unescapes a file's content: text, or what its base64 means. */
static int file_content(struct request_work *work, const char *name, const struct json_value *value, struct buffer *out)
{
    struct json_value content;
    struct buffer plain = {0};
    bool surrogates = false;
    int result = 0;
    if (value->type == JSON_STRING) {
        json_unescape(value, out, &surrogates);
    } else if (base64_member(value, &content)) {
        json_unescape(&content, &plain, &surrogates);
        result = base64_decode((struct span){plain.bytes, plain.length}, out);
        out->failed |= plain.failed;
        buffer_free(&plain);
    } else {
        return refuse(work->error, 400, "field \"files\": file \"%s\" must be a string or {\"base64\": string}", name);
    }
    if (result < 0)
        return refuse(work->error, 400, "field \"files\": file \"%s\" is not valid base64", name);
    if (surrogates)
        return refuse(work->error, 400, "field \"files\": file \"%s\" holds a lone surrogate, which UTF-8 cannot hold",
                      name);
    return 0;
}

static int add_file(struct request_work *work, const struct json_value *key, const struct json_value *value)
{
    struct buffer path = {0}, data = {0};
    bool surrogates;
    char name[SHOWN];
    int result = 0;
    json_unescape(key, &path, &surrogates);
    struct span span = {path.bytes, path.length};
    const char *fault = path.failed ? NULL : path_fault(span);
    shown(span, name);
    if (fault)
        result = refuse(work->error, 400, "field \"files\": path \"%s\" %s", name,
                        surrogates ? "holds a lone surrogate" : fault);
    else
        result = file_content(work, name, value, &data);
    if (result == 0) {
        buffer_append_frame(&work->request->job, FRAME_FILE_PATH, path.bytes, path.length);
        buffer_append_frame(&work->request->job, FRAME_FILE_DATA, data.bytes, data.length);
        work->request->job.failed |= path.failed | data.failed;
        work->file_bytes += data.length;
    }
    buffer_free(&path);
    buffer_free(&data);
    return result;
}

static int parse_files(struct request_work *work, const struct json_value *value)
{
    struct json_value key, content;
    size_t at = 0, count = 0;
    if (value->type != JSON_OBJECT)
        return refuse(work->error, 400, "field \"files\" must be an object");
    while (json_next(value, &at, &key, &content)) {
        if (count++ == REQUEST_FILES)
            return refuse(work->error, 400, "field \"files\" has more than %d files", REQUEST_FILES);
        if (add_file(work, &key, &content) < 0)
            return -1;
    }
    return check_directories(work);
}

static int parse_return_files(struct request_work *work, const struct json_value *value)
{
    struct json_value key, glob;
    size_t at = 0, count = 0;
    if (value->type != JSON_ARRAY)
        return refuse(work->error, 400, "field \"return_files\" must be an array of strings");
    for (; json_next(value, &at, &key, &glob); count++) {
        struct buffer plain = {0};
        bool surrogates;
        char text[SHOWN];
        if (count == REQUEST_GLOBS)
            return refuse(work->error, 400, "field \"return_files\" has more than %d patterns", REQUEST_GLOBS);
        if (glob.type != JSON_STRING)
            return refuse(work->error, 400, "field \"return_files\" must be an array of strings");
        json_unescape(&glob, &plain, &surrogates);
        const char *fault = plain.failed ? NULL : path_fault((struct span){plain.bytes, plain.length});
        buffer_append_frame(&work->request->job, FRAME_GLOB, plain.bytes, plain.length);
        work->request->job.failed |= plain.failed;
        buffer_free(&plain);
        if (fault)
            return refuse(work->error, 400, "return_files pattern \"%s\" %s", shown_json(&glob, text),
                          surrogates ? "holds a lone surrogate" : fault);
    }
    return 0;
}

/* The limits to start from are those of the environment, and no more than the client may have. */
static void take_environment(struct request_work *work, uint32_t number)
{
    work->request->environment = work->request->warmer = number;
    work->server = work->offers->rows[number].limits;
    for (int i = 0; i < LIMIT_COUNT; i++) {
        if (work->server.value[i] > work->most->value[i])
            work->server.value[i] = work->most->value[i];
    }
    work->request->limits = work->server;
}

static int parse_environment(struct request_work *work, const struct json_value *value)
{
    const char *known[ENVIRONMENTS_MOST + 1] = {NULL};
    char name[SHOWN];
    if (value->type != JSON_STRING)
        return refuse(work->error, 400, "field \"environment\" must be a string");
    for (uint32_t i = 0, count = 0; i < ENVIRONMENT_ROWS; i++) {
        const struct environment_offer *offer = &work->offers->rows[i];
        if (!offer->offered)
            continue;
        known[count++] = offer->name;
        if (!json_is(value, offer->name))
            continue;
        work->named = true;
        take_environment(work, i);
        return 0;
    }
    return refuse_unknown(work->error, "environment", "", shown_json(value, name), known);
}

static int lower_limit(struct request_work *work, const struct json_value *key, const struct json_value *value)
{
    const char *known[LIMIT_COUNT + 1] = {NULL};
    char name[SHOWN];
    for (int i = 0, count = 0; i < LIMIT_COUNT; i++) {
        const struct limit_row *row = &limit_table[i];
        uint64_t asked, most = work->server.value[i];
        if (row->by_request)
            known[count++] = row->name;
        if (!json_is(key, row->name))
            continue;
        if (!row->by_request)
            return refuse(work->error, 400, "limits.%s is the server's: a request cannot change it", row->name);
        if (!json_u64(value, &asked) || asked < row->least || asked > most)
            return refuse(work->error, 400, "limits.%s must be an integer from %" PRIu64 " to %" PRIu64, row->name,
                          row->least, most);
        work->request->limits.value[i] = asked;
        return 0;
    }
    return refuse_unknown(work->error, "field", "limits.", shown_json(key, name), known);
}

static int parse_limits(struct request_work *work, const struct json_value *value)
{
    struct json_value key, number;
    size_t at = 0;
    if (value->type != JSON_OBJECT)
        return refuse(work->error, 400, "field \"limits\" must be an object");
    while (json_next(value, &at, &key, &number)) {
        if (lower_limit(work, &key, &number) < 0)
            return -1;
    }
    return 0;
}

const struct request_field request_fields[] = {
    {"script", "string", "'type':'string'", true, "Python source that defines main()", parse_script},
    {"input", "any JSON value", "", false, "passed as main(input) when main takes a parameter", parse_input},
    {"stdin", "string", "'type':'string'", false, "text that the script can read from standard input", parse_stdin},
    {"files", "object", "'type':'object','additionalProperties':{'$ref':'#/components/schemas/FileContent'}", false,
     "files for the working directory: {path: text} or {path: {\"base64\": text}}, at most 1,000", parse_files},
    {"return_files", "array of strings", "'type':'array','maxItems':64,'items':{'type':'string'}", false,
     "patterns (*, ?, [ ], **) of files in the working directory to return, at most 64", parse_return_files},
    {"environment", "string", "'$ref':'#/components/schemas/Environment'", false,
     "a named environment: an interpreter and its packages", parse_environment},
    {"limits", "object", "'$ref':'#/components/schemas/Limits'", false,
     "lower limits for this run than the server's, which it cannot raise", parse_limits},
};
const size_t request_field_count = COUNT(request_fields);
_Static_assert(COUNT(request_fields) < FIELDS_MOST, "tables of fields have room");

/* --- the bodies -------------------------------------------------------------------------------------------------- */

static int refuse_field(struct request_work *work, const struct json_value *key)
{
    const char *known[FIELDS_MOST] = {NULL};
    char name[SHOWN];
    for (size_t i = 0; i < COUNT(request_fields); i++)
        known[i] = request_fields[i].name;
    return refuse_unknown(work->error, "field", "", shown_json(key, name), known);
}

/* Finds each member's row, then parses them in the table's order, whatever theirs. */
static int parse_members(struct request_work *work, const struct json_value *object)
{
    struct json_value key, value, values[COUNT(request_fields)];
    bool given[COUNT(request_fields)] = {false};
    for (size_t at = 0; json_next(object, &at, &key, &value);) {
        size_t i = 0;
        while (i < COUNT(request_fields) && !json_is(&key, request_fields[i].name))
            i++;
        if (i == COUNT(request_fields))
            return refuse_field(work, &key);
        given[i] = true;
        values[i] = value;
    }
    for (size_t i = 0; i < COUNT(request_fields); i++) {
        if (!given[i] && request_fields[i].required)
            return refuse(work->error, 400, "field \"%s\" is missing", request_fields[i].name);
        if (given[i] && request_fields[i].parse(work, &values[i]) < 0)
            return -1;
    }
    uint64_t disk = work->request->limits.value[LIMIT_DISK];
    char text[40];
    if (work->file_bytes > disk)
        return refuse(work->error, 400, "field \"files\" holds %" PRIu64 " bytes, more than limits.%s allows: %s",
                      work->file_bytes, limit_table[LIMIT_DISK].name, limit_text(LIMIT_DISK, disk, text, sizeof text));
    return 0;
}

static int parse_json(struct request_work *work, struct span body)
{
    struct json_value object;
    struct json_error error;
    if (body.length == 0)
        return refuse(work->error, 400, "request body is empty");
    if (json_check(body, &object, &error) < 0) {
        if (strcmp(error.reason, "out of memory") == 0)
            return refuse_memory(work->error);
        return refuse(work->error, 400, "request body is not valid JSON: %s at line %zu, column %zu", error.reason,
                      error.line, error.column);
    }
    if (object.type != JSON_OBJECT)
        return refuse(work->error, 400, "request body must be a JSON object, e.g. {\"script\": \"…\"}");
    return parse_members(work, &object);
}

/* The body is the script. */
static int parse_python(struct request_work *work, struct span body)
{
    size_t valid = utf8_prefix(body), line = 1;
    if (valid < body.length) {
        for (size_t i = 0; i < valid; i++)
            line += body.bytes[i] == '\n';
        return refuse(work->error, 400, "request body is not valid UTF-8 at byte offset %zu (line %zu)", valid, line);
    }
    if (body.length >= 3 && memcmp(body.bytes, "\xef\xbb\xbf", 3) == 0)
        body = (struct span){body.bytes + 3, body.length - 3};
    buffer_append_frame(&work->request->job, FRAME_SCRIPT, body.bytes, body.length);
    return 0;
}

static const struct body_type {
    const char *name;
    int (*parse)(struct request_work *work, struct span body);
} body_types[] = {{"application/json", parse_json}, {"text/x-python", parse_python}};

/* One parameter's length, "name=value" or "name=\"value\"". */
static size_t parameter_length(const char *text)
{
    size_t name = strcspn(text, "=;\"");
    if (text[name] != '=')
        return name;
    const char *value = text + name + 1;
    if (*value != '"')
        return name + 1 + strcspn(value, "; \t");
    const char *end = strchr(value + 1, '"');
    return end ? (size_t)(end - text) + 1 : strlen(text);
}

/* True when what follows the media type is parameters, and none of them says another character set than UTF-8 (RFC
 * 9110, 5.6.6: empty ones are allowed; RFC 8259: JSON defines none, so others mean nothing). */
static bool parameters_fine(const char *text)
{
    static const char *const charsets[] = {"charset=utf-8", "charset=\"utf-8\"", "charset=utf8"};
    for (;;) {
        text += strspn(text, " \t");
        if (!*text)
            return true;
        if (*text++ != ';')
            return false;
        text += strspn(text, " \t");
        size_t length = parameter_length(text);
        bool utf8 = false;
        for (size_t i = 0; i < COUNT(charsets); i++)
            utf8 |= length == strlen(charsets[i]) && strncasecmp(text, charsets[i], length) == 0;
        if (strncasecmp(text, "charset", 7) == 0 && !utf8)
            return false;
        text += length;
    }
}

static const struct body_type *find_type(const char *content_type, struct request_error *error)
{
    char text[SHOWN];
    if (!content_type || !*content_type) {
        refuse(error, 415, "the Content-Type header is missing: send %s or %s", body_types[0].name, body_types[1].name);
        return NULL;
    }
    const char *start = content_type + strspn(content_type, " \t");
    for (size_t i = 0; i < COUNT(body_types); i++) {
        size_t length = strlen(body_types[i].name);
        if (strncasecmp(start, body_types[i].name, length) == 0 && parameters_fine(start + length))
            return &body_types[i];
    }
    refuse(error, 415, "content type \"%s\" is not supported: send %s or %s (charset utf-8)",
           shown(text_span(content_type), text), body_types[0].name, body_types[1].name);
    return NULL;
}

bool request_type_known(const char *content_type, struct request_error *error)
{
    return find_type(content_type, error) != NULL;
}

/* The script as it stands in the job, for the look at its imports. */
static void choose_warmer(const struct request_work *work)
{
    struct request *request = work->request;
    struct span rest = {request->job.bytes, request->job.length};
    struct frame frame;
    while (!work->named && frame_next(&rest, &frame) > 0) {
        if (frame.tag == FRAME_SCRIPT)
            request->warmer = imports_choose(frame.data, work->offers);
    }
}

int request_parse(struct span body, const char *content_type, const struct environment_offers *offers,
                  const struct limits *most, const uint8_t nonce[NONCE_BYTES], struct request *request,
                  struct request_error *error)
{
    struct request_work work = {.offers = offers, .most = most, .request = request, .error = error};
    char text[40];
    *request = (struct request){.environment = ENVIRONMENT_DEFAULT};
    take_environment(&work, ENVIRONMENT_DEFAULT);
    uint64_t most_bytes = work.server.value[LIMIT_REQUEST];
    const struct body_type *type = find_type(content_type, error);
    int result = type ? 0 : -1;
    if (result == 0 && body.length > most_bytes)
        result = refuse(error, 413, "request body is larger than the limit of %s",
                        limit_text(LIMIT_REQUEST, most_bytes, text, sizeof text));
    if (result == 0) {
        buffer_append_frame(&request->job, FRAME_NONCE, nonce, NONCE_BYTES);
        result = type->parse(&work, body);
    }
    buffer_append_frame(&request->job, FRAME_END, NULL, 0);
    if (result == 0 && (request->job.failed || request->stdin_bytes.failed))
        result = refuse_memory(error);
    if (result == 0)
        choose_warmer(&work);
    else
        request_free(request);
    return result;
}

void request_free(struct request *request)
{
    buffer_free(&request->job);
    buffer_free(&request->stdin_bytes);
    *request = (struct request){0};
}
