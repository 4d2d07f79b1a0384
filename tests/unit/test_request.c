/* request.c: every field, every way to get it wrong and the one line that says so; what a job holds; no partial result.
 */
#include "support.h"

#include "json.h"
#include "request.h"

#define JSON   "application/json"
#define PYTHON "text/x-python"

static const uint8_t *const nonce = (const uint8_t *)"0123456789abcdef";

/* What the client may have at most, whatever the environment. */
static const struct limits unlimited = {{[0 ... LIMIT_COUNT - 1] = UINT64_MAX}};

/* Parses an exact copy, so that the request cannot lean on the body's memory. */
static int parse(struct span body, const char *type, const struct limits *server, struct request *request,
                 struct request_error *error)
{
    auto_free uint8_t *copy = exact_copy(body);
    memset(error, 0, sizeof *error);
    struct environment_offers offers = {
        {{.name = "default", .offered = true, .limits = *server},
         {.name = "more", .offered = true, .limits = *server},
         {.name = "gone", .limits = *server},
         {.name = "warm", .offered = true, .warmer = true, .modules = "numpy pandas ", .limits = *server},
         {.warmer = true, .modules = "numpy ", .limits = *server}}};
    for (int i = 0; i < LIMIT_COUNT; i++)
        offers.rows[1].limits.value[i] *= i == LIMIT_REQUEST ? 1 : 2;
    int result = request_parse((struct span){copy, body.length}, type, &offers, &unlimited, nonce, request, error);
    if (result < 0) {
        assert_null(request->job.bytes);
        assert_null(request->stdin_bytes.bytes);
        assert_true(strlen(error->text) > 0);
        assert_int_equal(utf8_prefix(string_span(error->text)), strlen(error->text));
        for (const char *c = error->text; *c; c++)
            assert_true((unsigned char)*c >= 0x20);
    }
    return result;
}

static int parse_default(struct span body, const char *type, struct request *request, struct request_error *error)
{
    struct limits server;
    limits_default(&server);
    return parse(body, type, &server, request, error);
}

static void refused(struct span body, const char *type, unsigned http, const char *text)
{
    struct request request;
    struct request_error error;
    if (parse_default(body, type, &request, &error) == 0)
        fail_msg("accepted: %.*s", (int)body.length, body.bytes);
    assert_string_equal(error.text, text);
    assert_int_equal(error.http, http);
}

/* A job as text: "SCRIPT=…|INPUT=…|END", checked to begin with the nonce. */
static void job_text(const struct request *request, struct buffer *out)
{
    static const char *const names[] = {
        [FRAME_NONCE] = "NONCE",     [FRAME_SCRIPT] = "SCRIPT=", [FRAME_INPUT] = "INPUT=", [FRAME_FILE_PATH] = "PATH=",
        [FRAME_FILE_DATA] = "DATA=", [FRAME_GLOB] = "GLOB=",     [FRAME_END] = "END"};
    struct span rest = buffer_span(&request->job);
    struct frame frame;
    assert_int_equal(frame_next(&rest, &frame), 1);
    assert_int_equal(frame.tag, FRAME_NONCE);
    assert_int_equal(frame.data.length, NONCE_BYTES);
    assert_memory_equal(frame.data.bytes, nonce, NONCE_BYTES);
    for (int more; (more = frame_next(&rest, &frame)) != 0;) {
        assert_int_equal(more, 1);
        assert_true(frame.tag < COUNT(names));
        if (out->length)
            buffer_append(out, "|", 1);
        repeat(out, names[frame.tag], 1);
        buffer_append(out, frame.data.bytes, frame.data.length);
    }
}

static void accepted(struct span body, const char *type, const char *job)
{
    struct request request;
    struct request_error error;
    auto_buffer struct buffer text = {0};
    if (parse_default(body, type, &request, &error) < 0)
        fail_msg("refused: %.*s: %s", (int)body.length, body.bytes, error.text);
    job_text(&request, &text);
    assert_buffer(&text, job);
    assert_int_equal(request.environment, ENVIRONMENT_DEFAULT);
    assert_int_equal(request.warmer, ENVIRONMENT_DEFAULT);
    request_free(&request);
    assert_null(request.job.bytes);
}

static void test_types(void **state)
{
    static const char *const json[] = {"application/json",
                                       "Application/JSON",
                                       " application/json ",
                                       "application/json;charset=utf-8",
                                       "application/json; charset=UTF-8",
                                       "application/json ; charset=\"utf-8\"",
                                       "application/json;",
                                       "application/json; charset=utf8",
                                       "application/json;\tcharset=utf-8;"};
    static const char *const other[] = {"text/plain",
                                        "application/jsonx",
                                        "application/json charset=utf-8",
                                        "application/json; charset=latin-1",
                                        "application/json; charset=utf-8x",
                                        "application/json; charset=utf-16",
                                        "application/json; charset=utf",
                                        "application/json; charset = utf-8",
                                        "application/json; x=y; charset=latin-1",
                                        "application/json, text/x-python",
                                        "application/x-www-form-urlencoded",
                                        "multipart/form-data; boundary=x",
                                        "json",
                                        "text/x-python3",
                                        "application/json; charset=\"utf-8"};
    struct request request;
    struct request_error error;
    (void)state;
    for (size_t i = 0; i < COUNT(json); i++) {
        accepted(SPAN("{\"script\":\"x\"}"), json[i], "SCRIPT=x|END");
        assert_true(request_type_known(json[i], &error));
    }
    accepted(SPAN("x"), "text/x-python", "SCRIPT=x|END");
    accepted(SPAN("x"), "Text/X-Python; Charset=Utf-8", "SCRIPT=x|END");
    for (size_t i = 0; i < COUNT(other); i++) {
        assert_int_equal(parse_default(SPAN("{\"script\":\"x\"}"), other[i], &request, &error), -1);
        assert_int_equal(error.http, 415);
        assert_false(request_type_known(other[i], &error));
        assert_int_equal(error.http, 415);
    }
    refused(SPAN("{}"), NULL, 415, "the Content-Type header is missing: send application/json or text/x-python");
    refused(SPAN("{}"), "", 415, "the Content-Type header is missing: send application/json or text/x-python");
    refused(
        SPAN("{}"), "text/\x01\xff", 415,
        "content type \"text/ \xef\xbf\xbd\" is not supported: send application/json or text/x-python (charset utf-8)");
}

static void test_json_faults(void **state)
{
    (void)state;
    refused(SPAN(""), JSON, 400, "request body is empty");
    refused(SPAN("{\"script\":"), JSON, 400, "request body is not valid JSON: unexpected end at line 1, column 11");
    refused(SPAN("{\"script\": \"x\",\n\n    \"script\": 1}"), JSON, 400,
            "request body is not valid JSON: duplicate key at line 3, column 5");
    refused(SPAN("{\"script\":\"\xff\"}"), JSON, 400,
            "request body is not valid JSON: invalid UTF-8 at line 1, column 12");
    refused(SPAN("{'script':''}"), JSON, 400, "request body is not valid JSON: expected a key at line 1, column 2");
    refused(SPAN("[]"), JSON, 400, "request body must be a JSON object, e.g. {\"script\": \"…\"}");
    refused(SPAN("\"x\""), JSON, 400, "request body must be a JSON object, e.g. {\"script\": \"…\"}");
    refused(SPAN("null"), JSON, 400, "request body must be a JSON object, e.g. {\"script\": \"…\"}");
}

static void test_fields(void **state)
{
    (void)state;
    refused(SPAN("{}"), JSON, 400, "field \"script\" is missing");
    refused(SPAN("{\"input\":1}"), JSON, 400, "field \"script\" is missing");
    refused(SPAN("{\"scirpt\":\"x\"}"), JSON, 400, "unknown field \"scirpt\" (did you mean \"script\"?)");
    refused(SPAN("{\"Script\":\"x\"}"), JSON, 400, "unknown field \"Script\" (did you mean \"script\"?)");
    refused(SPAN("{\"script\":\"x\",\"file\":{}}"), JSON, 400, "unknown field \"file\" (did you mean \"files\"?)");
    refused(SPAN("{\"code\":\"x\"}"), JSON, 400,
            "unknown field \"code\" (known: \"script\", \"input\", \"stdin\", \"files\", \"return_files\", "
            "\"environment\", "
            "\"limits\")");
    refused(
        SPAN("{\"script\":\"x\",\"\":1}"), JSON, 400,
        "unknown field \"\" (known: \"script\", \"input\", \"stdin\", \"files\", \"return_files\", \"environment\", "
        "\"limits\")");
    refused(SPAN("{\"script\":\"x\",\"a\\nb\\u0000\\ud800\":1}"), JSON, 400,
            "unknown field \"a b \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\" (known: \"script\", \"input\", \"stdin\", "
            "\"files\", "
            "\"return_files\", \"environment\", \"limits\")");
    refused(SPAN("{\"script\":null}"), JSON, 400, "field \"script\" must be a string");
    refused(SPAN("{\"script\":[\"x\"]}"), JSON, 400, "field \"script\" must be a string");
    refused(SPAN("{\"script\":\"x\",\"stdin\":null}"), JSON, 400, "field \"stdin\" must be a string");
    refused(SPAN("{\"script\":\"x\",\"stdin\":\"\\udc80\"}"), JSON, 400,
            "field \"stdin\" holds a lone surrogate, which UTF-8 cannot hold");
    refused(SPAN("{\"script\":\"x\",\"environment\":1}"), JSON, 400, "field \"environment\" must be a string");
    refused(SPAN("{\"script\":\"x\",\"environment\":\"conda\"}"), JSON, 400,
            "unknown environment \"conda\" (known: \"default\", \"more\", \"warm\")");
    refused(SPAN("{\"script\":\"x\",\"environment\":\"defualt\"}"), JSON, 400,
            "unknown environment \"defualt\" (did you mean \"default\"?)");
    refused(SPAN("{\"script\":\"x\",\"environment\":\"\"}"), JSON, 400,
            "unknown environment \"\" (known: \"default\", \"more\", \"warm\")");
    accepted(SPAN("{\"script\":\"x\",\"environment\":\"default\"}"), JSON, "SCRIPT=x|END");
    accepted(SPAN("{\"scr\\u0069pt\":\"x\"}"), JSON, "SCRIPT=x|END");
}

/* A long unknown name is cut, not copied. */
static void test_long_name(void **state)
{
    auto_buffer struct buffer body = {0};
    struct request request;
    struct request_error error;
    (void)state;
    repeat(&body, "{\"", 1);
    repeat(&body, "€", 1000000);
    repeat(&body, "\":1}", 1);
    assert_int_equal(parse_default(buffer_span(&body), JSON, &request, &error), -1);
    assert_true(strlen(error.text) < 300);
    assert_non_null(strstr(error.text, "€…\" (known: "));
}

static void test_values(void **state)
{
    (void)state;
    accepted(SPAN("{\"script\":\"\"}"), JSON, "SCRIPT=|END");
    accepted(SPAN("{\"script\":\"a\\n\\u00e9\\ud83d\\ude00\"}"), JSON, "SCRIPT=a\né😀|END");
    accepted(SPAN("{\"script\":\"\\ud800\"}"), JSON, "SCRIPT=\xed\xa0\x80|END"); /* WTF-8: the run refuses it */
    accepted(SPAN("{\"input\": {\"a\" : [1.50, 1e400]} ,\"script\":\"x\"}"), JSON,
             "SCRIPT=x|INPUT={\"a\" : [1.50, 1e400]}|END");
    accepted(SPAN("{\"script\":\"x\",\"input\":null}"), JSON, "SCRIPT=x|INPUT=null|END");
    accepted(SPAN("{\"script\":\"x\",\"input\":\"\\ud800\"}"), JSON, "SCRIPT=x|INPUT=\"\\ud800\"|END");
    accepted(SPAN("{\"return_files\":[\"*.png\"],\"files\":{\"a\":\"1\"},\"input\":2,\"script\":\"x\"}"), JSON,
             "SCRIPT=x|INPUT=2|PATH=a|DATA=1|GLOB=*.png|END");
}

static void test_nul_in_script(void **state)
{
    struct request request;
    struct request_error error;
    struct span rest;
    struct frame frame;
    (void)state;
    assert_int_equal(parse_default(SPAN("{\"script\":\"a\\u0000b\"}"), JSON, &request, &error), 0);
    rest = buffer_span(&request.job);
    assert_int_equal(frame_next(&rest, &frame), 1);
    assert_int_equal(frame_next(&rest, &frame), 1);
    assert_int_equal(frame.data.length, 3);
    assert_memory_equal(frame.data.bytes, "a\0b", 3);
    request_free(&request);
}

static void test_stdin(void **state)
{
    struct request request;
    struct request_error error;
    (void)state;
    assert_int_equal(parse_default(SPAN("{\"script\":\"x\"}"), JSON, &request, &error), 0);
    assert_false(request.has_stdin);
    request_free(&request);
    assert_int_equal(parse_default(SPAN("{\"script\":\"x\",\"stdin\":\"\"}"), JSON, &request, &error), 0);
    assert_true(request.has_stdin);
    assert_int_equal(request.stdin_bytes.length, 0);
    request_free(&request);
    assert_int_equal(parse_default(SPAN("{\"script\":\"x\",\"stdin\":\"a\\n€\"}"), JSON, &request, &error), 0);
    assert_true(request.has_stdin);
    assert_buffer(&request.stdin_bytes, "a\n€");
    request_free(&request);
}

static void test_python(void **state)
{
    (void)state;
    accepted(SPAN(""), PYTHON, "SCRIPT=|END");
    accepted(SPAN("def main():\n    return {\"é\": 1}\n"), PYTHON, "SCRIPT=def main():\n    return {\"é\": 1}\n|END");
    accepted(SPAN("\xef\xbb\xbfx"), PYTHON, "SCRIPT=x|END");
    accepted(SPAN("\xef\xbb\xbf\xef\xbb\xbfx"), PYTHON, "SCRIPT=\xef\xbb\xbfx|END");
    accepted(SPAN("x\xef\xbb\xbf"), PYTHON, "SCRIPT=x\xef\xbb\xbf|END");
    refused(SPAN("x = 1\ny = '\xe9'\n"), PYTHON, 400, "request body is not valid UTF-8 at byte offset 11 (line 2)");
    refused(SPAN("\xff\xfe"), PYTHON, 400, "request body is not valid UTF-8 at byte offset 0 (line 1)");
    refused(SPAN("x\xed\xa0\x80"), PYTHON, 400, "request body is not valid UTF-8 at byte offset 1 (line 1)");
}

static void test_files(void **state)
{
    static const struct {
        const char *files, *result; /* a job, or an error */
    } rows[] = {
        {"{}", "SCRIPT=x|END"},
        {"{\"a\":\"\"}", "SCRIPT=x|PATH=a|DATA=|END"},
        {"{\"a\":\"é\\n\",\"b/c.txt\":{\"base64\":\"Zm9v\"}}", "SCRIPT=x|PATH=a|DATA=é\n|PATH=b/c.txt|DATA=foo|END"},
        {"{\"a\":{\"base64\":\"\"}}", "SCRIPT=x|PATH=a|DATA=|END"},
        {"{\"a\":{\"base64\":\"\\/\\u0077==\"}}", "SCRIPT=x|PATH=a|DATA=\xff|END"},
        {"{\"a b/...\":\"1\",\".x\":\"2\",\"*?[]\\\\\":\"3\"}",
         "SCRIPT=x|PATH=a b/...|DATA=1|PATH=.x|DATA=2|PATH=*?[]\\|DATA=3|END"},
        {"{\"a\":\"1\",\"a.b\":\"2\",\"ab/c\":\"3\"}", "SCRIPT=x|PATH=a|DATA=1|PATH=a.b|DATA=2|PATH=ab/c|DATA=3|END"},
        {"[]", "field \"files\" must be an object"},
        {"null", "field \"files\" must be an object"},
        {"{\"a\":1}", "field \"files\": file \"a\" must be a string or {\"base64\": string}"},
        {"{\"a\":null}", "field \"files\": file \"a\" must be a string or {\"base64\": string}"},
        {"{\"a\":[]}", "field \"files\": file \"a\" must be a string or {\"base64\": string}"},
        {"{\"a\":{}}", "field \"files\": file \"a\" must be a string or {\"base64\": string}"},
        {"{\"a\":{\"base64\":1}}", "field \"files\": file \"a\" must be a string or {\"base64\": string}"},
        {"{\"a\":{\"text\":\"\"}}", "field \"files\": file \"a\" must be a string or {\"base64\": string}"},
        {"{\"a\":{\"base64\":\"\",\"x\":1}}", "field \"files\": file \"a\" must be a string or {\"base64\": string}"},
        {"{\"a\":{\"base64\":\"Zg\"}}", "field \"files\": file \"a\" is not valid base64"},
        {"{\"a\":{\"base64\":\"\\ud800\"}}", "field \"files\": file \"a\" is not valid base64"},
        {"{\"a\":\"\\ud800\"}", "field \"files\": file \"a\" holds a lone surrogate, which UTF-8 cannot hold"},
        {"{\"\":\"\"}", "field \"files\": path \"\" is empty"},
        {"{\"/etc/passwd\":\"\"}", "field \"files\": path \"/etc/passwd\" is absolute"},
        {"{\"a/\":\"\"}", "field \"files\": path \"a/\" ends with a slash"},
        {"{\"a//b\":\"\"}", "field \"files\": path \"a//b\" has an empty part"},
        {"{\".\":\"\"}", "field \"files\": path \".\" has a part \".\""},
        {"{\"a/./b\":\"\"}", "field \"files\": path \"a/./b\" has a part \".\""},
        {"{\"..\":\"\"}", "field \"files\": path \"..\" has a part \"..\""},
        {"{\"a/../../b\":\"\"}", "field \"files\": path \"a/../../b\" has a part \"..\""},
        {"{\"\\u002e\\u002e/b\":\"\"}", "field \"files\": path \"../b\" has a part \"..\""},
        {"{\"a\\u0000b\":\"\"}", "field \"files\": path \"a b\" holds a NUL character"},
        {"{\"a\\ud800\":\"\"}",
         "field \"files\": path \"a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\" holds a lone surrogate"},
        {"{\"1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g\":\"\"}", "SCRIPT=x|PATH=1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g|DATA=|END"},
        {"{\"1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g/h\":\"\"}",
         "field \"files\": path \"1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g/h\" has more than 16 parts"},
        {"{\"a\":\"1\",\"a/b\":\"2\"}", "field \"files\": path \"a\" is also a directory of \"a/b\""},
        {"{\"a/b/c\":\"1\",\"a-b\":\"2\",\"a.b\":\"\",\"a/b\":\"2\"}",
         "field \"files\": path \"a/b\" is also a directory of \"a/b/c\""},
        {"{\"a/b/c\":\"1\",\"a!\":\"2\",\"a\":\"2\"}", "field \"files\": path \"a\" is also a directory of \"a/b/c\""},
        {"{\"a\":1,\"\\u0061\":2}", "request body is not valid JSON: duplicate key at line 1, column 30"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        auto_buffer struct buffer body = {0};
        repeat(&body, "{\"script\":\"x\",\"files\":", 1);
        repeat(&body, rows[i].files, 1);
        repeat(&body, "}", 1);
        if (strncmp(rows[i].result, "SCRIPT", 6) == 0)
            accepted(buffer_span(&body), JSON, rows[i].result);
        else
            refused(buffer_span(&body), JSON, 400, rows[i].result);
    }
}

static void test_path_sizes(void **state)
{
    static const struct {
        unsigned part, parts;
        const char *fault;
    } rows[] = {
        {255, 1, NULL},
        {256, 1, "has a part of more than 255 bytes"},
        {255, 4, NULL}, /* 1023 bytes */
        {204, 5, NULL}, /* 1024 */
        {255, 5, "is longer than 1024 bytes"},
        {1, 16, NULL},
        {1, 17, "has more than 16 parts"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        auto_buffer struct buffer path = {0};
        for (unsigned n = 0; n < rows[i].parts; n++) {
            repeat(&path, n ? "/" : "", 1);
            repeat(&path, "x", rows[i].part);
        }
        const char *fault = path_fault(buffer_span(&path));
        assert_true(fault == rows[i].fault || (fault && rows[i].fault && strcmp(fault, rows[i].fault) == 0));
    }
    assert_string_equal(path_fault(SPAN("a\xff")), "is not valid UTF-8");
    assert_string_equal(path_fault(SPAN("a\xed\xa0\x80")), "is not valid UTF-8");
    assert_string_equal(path_fault(SPAN("/")), "is absolute");
    assert_string_equal(path_fault((struct span){0}), "is empty");
}

/* `count` files, named so that the sort has work to do; `last` is one more member. */
static void many_files(struct buffer *body, unsigned count, const char *last)
{
    repeat(body, "{\"script\":\"x\",\"files\":{", 1);
    for (unsigned i = 0; i < count; i++) {
        char piece[64];
        snprintf(piece, sizeof piece, "%s\"d%u/%u\":\"\"", i ? "," : "", i % 7, i * 7919 % 100003);
        repeat(body, piece, 1);
    }
    repeat(body, last, 1);
    repeat(body, "}}", 1);
}

static void test_many_files(void **state)
{
    struct request request;
    struct request_error error;
    auto_buffer struct buffer most = {0}, more = {0}, clash = {0};
    (void)state;
    many_files(&most, REQUEST_FILES, "");
    assert_int_equal(parse_default(buffer_span(&most), JSON, &request, &error), 0);
    request_free(&request);
    many_files(&more, REQUEST_FILES + 1, "");
    refused(buffer_span(&more), JSON, 400, "field \"files\" has more than 1000 files");
    many_files(&clash, REQUEST_FILES - 1, ",\"d3\":\"\"");
    assert_int_equal(parse_default(buffer_span(&clash), JSON, &request, &error), -1);
    assert_non_null(strstr(error.text, "field \"files\": path \"d3\" is also a directory of \"d3/"));
}

/* Exhaustively: for each pair out of a family of related paths, refused exactly when one is above the other. */
static void test_directories(void **state)
{
    static const char *const paths[] = {"a",  "a/b", "a/b/c", "a/bc", "ab",   "a!",
                                        "a.", "a0",  "a/!",   "b",    "aa/b", "a/b!"};
    struct request request;
    struct request_error error;
    (void)state;
    for (size_t i = 0; i < COUNT(paths); i++) {
        for (size_t j = 0; j < COUNT(paths); j++) {
            char body[256];
            size_t length = strlen(paths[i]), other = strlen(paths[j]);
            bool above = (strncmp(paths[i], paths[j], length) == 0 && paths[j][length] == '/') ||
                         (strncmp(paths[j], paths[i], other) == 0 && paths[i][other] == '/');
            if (i == j)
                continue;
            snprintf(body, sizeof body, "{\"script\":\"\",\"files\":{\"%s\":\"\",\"aZ\":\"\",\"%s\":\"\"}}", paths[i],
                     paths[j]);
            int result = parse_default(string_span(body), JSON, &request, &error);
            assert_int_equal(result, above ? -1 : 0);
            if (result == 0)
                request_free(&request);
        }
    }
}

static void test_file_bytes(void **state)
{
    auto_buffer struct buffer body = {0};
    struct request request;
    struct request_error error;
    (void)state;
    /* The files' bytes are counted as decoded, against the request's own limit, wherever that stands. */
    repeat(&body, "{\"script\":\"x\",\"files\":{\"a\":\"", 1);
    repeat(&body, "x", 65535);
    repeat(&body, "\",\"b\":{\"base64\":\"Zg==\"}},\"limits\":{\"disk_bytes\":65536}}", 1);
    assert_int_equal(parse_default(buffer_span(&body), JSON, &request, &error), 0);
    assert_int_equal(request.limits.value[LIMIT_DISK], 65536);
    request_free(&request);
    body.length = 0;
    repeat(&body, "{\"limits\":{\"disk_bytes\":65536},\"script\":\"x\",\"files\":{\"a\":\"", 1);
    repeat(&body, "x", 65535);
    repeat(&body, "\",\"b\":{\"base64\":\"Zm8=\"}}}", 1);
    refused(buffer_span(&body), JSON, 400,
            "field \"files\" holds 65537 bytes, more than limits.disk_bytes allows: 64 KiB");
}

static void test_globs(void **state)
{
    auto_buffer struct buffer body = {0};
    (void)state;
    accepted(SPAN("{\"script\":\"x\",\"return_files\":[]}"), JSON, "SCRIPT=x|END");
    accepted(SPAN("{\"script\":\"x\",\"return_files\":[\"*\",\"**/*.png\",\"a/[0-9]?.csv\",\"*\"]}"), JSON,
             "SCRIPT=x|GLOB=*|GLOB=**/*.png|GLOB=a/[0-9]?.csv|GLOB=*|END");
    refused(SPAN("{\"script\":\"x\",\"return_files\":\"*\"}"), JSON, 400,
            "field \"return_files\" must be an array of strings");
    refused(SPAN("{\"script\":\"x\",\"return_files\":[\"*\",1]}"), JSON, 400,
            "field \"return_files\" must be an array of strings");
    refused(SPAN("{\"script\":\"x\",\"return_files\":[\"../*\"]}"), JSON, 400,
            "return_files pattern \"../*\" has a part \"..\"");
    refused(SPAN("{\"script\":\"x\",\"return_files\":[\"/etc/*\"]}"), JSON, 400,
            "return_files pattern \"/etc/*\" is absolute");
    refused(SPAN("{\"script\":\"x\",\"return_files\":[\"\"]}"), JSON, 400, "return_files pattern \"\" is empty");
    refused(SPAN("{\"script\":\"x\",\"return_files\":[\"\\udc80\"]}"), JSON, 400,
            "return_files pattern \"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\" holds a lone surrogate");
    repeat(&body, "{\"script\":\"x\",\"return_files\":[\"a\"", 1);
    repeat(&body, ",\"a\"", REQUEST_GLOBS);
    repeat(&body, "]}", 1);
    refused(buffer_span(&body), JSON, 400, "field \"return_files\" has more than 64 patterns");
}

static int parse_limit(const char *name, const char *value, struct request *request, struct request_error *error)
{
    char body[256];
    snprintf(body, sizeof body, "{\"script\":\"x\",\"limits\":{\"%s\":%s}}", name, value);
    return parse_default(string_span(body), JSON, request, error);
}

/* Every row of the table at, below and above its bounds. */
static void test_limits(void **state)
{
    struct limits server;
    struct request request;
    struct request_error error;
    (void)state;
    limits_default(&server);
    for (int i = 0; i < LIMIT_COUNT; i++) {
        const struct limit_row *row = &limit_table[i];
        uint64_t most = server.value[i],
                 values[] = {row->least, most, (row->least + most) / 2, row->least - 1, most + 1};
        for (size_t n = 0; n < COUNT(values); n++) {
            char value[32], expected[160];
            snprintf(value, sizeof value, "%llu", (unsigned long long)values[n]);
            int result = parse_limit(row->name, value, &request, &error);
            assert_int_equal(result, row->by_request && n < 3 ? 0 : -1);
            if (result == 0) {
                for (int j = 0; j < LIMIT_COUNT; j++)
                    assert_true(request.limits.value[j] == (j == i ? values[n] : server.value[j]));
                request_free(&request);
                continue;
            }
            snprintf(expected, sizeof expected,
                     row->by_request ? "limits.%s must be an integer from %llu to %llu"
                                     : "limits.%s is the server's: a request cannot change it",
                     row->name, (unsigned long long)row->least, (unsigned long long)most);
            assert_string_equal(error.text, expected);
        }
    }
}

static void test_limit_values(void **state)
{
    static const char *const bad[] = {"0",
                                      "-1",
                                      "1e3",
                                      "10.0",
                                      "1e309",
                                      "\"10\"",
                                      "null",
                                      "true",
                                      "[10]",
                                      "{\"a\":1}",
                                      "-0",
                                      "10.5",
                                      "99999999999999999999999"};
    struct request request;
    struct request_error error;
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(parse_limit("wall_ms", bad[i], &request, &error), -1);
        assert_string_equal(error.text, "limits.wall_ms must be an integer from 1 to 10000");
    }
    refused(SPAN("{\"script\":\"x\",\"limits\":{\"wal_ms\":1}}"), JSON, 400,
            "unknown field \"limits.wal_ms\" (did you mean \"limits.wall_ms\"?)");
    refused(SPAN("{\"script\":\"x\",\"limits\":{\"timeout\":1}}"), JSON, 400,
            "unknown field \"limits.timeout\" (known: \"limits.wall_ms\", \"limits.cpu_ms\", \"limits.memory_bytes\", "
            "\"limits.processes\", \"limits.output_bytes\", \"limits.disk_bytes\")");
    refused(SPAN("{\"script\":\"x\",\"limits\":[]}"), JSON, 400, "field \"limits\" must be an object");
    accepted(SPAN("{\"script\":\"x\",\"limits\":{}}"), JSON, "SCRIPT=x|END");
}

static void test_body_size(void **state)
{
    struct limits server;
    struct request request;
    struct request_error error;
    auto_buffer struct buffer body = {0};
    (void)state;
    limits_default(&server);
    server.value[LIMIT_REQUEST] = 1024;
    repeat(&body, "#", 1024);
    assert_int_equal(parse(buffer_span(&body), PYTHON, &server, &request, &error), 0);
    request_free(&request);
    repeat(&body, "#", 1);
    assert_int_equal(parse(buffer_span(&body), PYTHON, &server, &request, &error), -1);
    assert_int_equal(error.http, 413);
    assert_string_equal(error.text, "request body is larger than the limit of 1 KiB");
}

static const struct span whole = SPAN(
    "{\"script\":\"a\\u0062\",\"input\":[1,{\"x\":null}],\"stdin\":\"in\",\"files\":{\"p/q\":\"t\",\"b\":{\"base64\":"
    "\"Zm9v\"}},\"return_files\":[\"**/*\"],\"environment\":\"default\",\"limits\":{\"wall_ms\":100}}");

/* No beginning of a request is one, and whatever a byte becomes the parser either takes the whole or refuses it. */
static void test_damaged(void **state)
{
    struct request request;
    struct request_error error;
    (void)state;
    for (size_t length = 0; length < whole.length; length++)
        assert_int_equal(parse_default((struct span){whole.bytes, length}, JSON, &request, &error), -1);
    accepted(whole, JSON, "SCRIPT=ab|INPUT=[1,{\"x\":null}]|PATH=p/q|DATA=t|PATH=b|DATA=foo|GLOB=**/*|END");
    auto_free uint8_t *copy = exact_copy(whole);
    for (size_t at = 0; at < whole.length; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            copy[at] = (uint8_t)(whole.bytes[at] ^ (1u << bit));
            if (parse_default((struct span){copy, whole.length}, JSON, &request, &error) == 0)
                request_free(&request);
        }
        copy[at] = whole.bytes[at];
    }
}

/* The table documents itself. */
static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < request_field_count; i++) {
        assert_true(strlen(request_fields[i].name) && strlen(request_fields[i].type) && strlen(request_fields[i].help));
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(request_fields[i].name, request_fields[j].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),        cmocka_unit_test(test_json_faults), cmocka_unit_test(test_fields),
        cmocka_unit_test(test_long_name),    cmocka_unit_test(test_values),      cmocka_unit_test(test_nul_in_script),
        cmocka_unit_test(test_stdin),        cmocka_unit_test(test_python),      cmocka_unit_test(test_files),
        cmocka_unit_test(test_path_sizes),   cmocka_unit_test(test_many_files),  cmocka_unit_test(test_directories),
        cmocka_unit_test(test_file_bytes),   cmocka_unit_test(test_globs),       cmocka_unit_test(test_limits),
        cmocka_unit_test(test_limit_values), cmocka_unit_test(test_body_size),   cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
