/* report.c, fed what a script may have written, and everything after it: the outcome and both bodies. Whatever the
 * bytes, they are a success only as a canonical result of a run that exited as ours do, and the bodies are JSON. The
 * first byte is how the run ended. */
#include "fuzz.h"

#include "json.h"
#include "record.h"
#include "report.h"
#include "request.h"

#include <string.h>

static const int endings[] = {EXIT_REPORTED << 8, EXIT_FAILED << 8, EXIT_NO_CHANNEL << 8, 9};

static const uint8_t nonce[NONCE_BYTES] = "nonce of a fuzz";

static bool inside(struct span part, struct span whole)
{
    return part.length == 0 || (part.bytes >= whole.bytes && part.bytes + part.length <= whole.bytes + whole.length);
}

static void check_report(const struct report *report, struct span bytes, const struct limits *limits)
{
    uint64_t file_bytes = 0;
    must(inside(report->result, bytes) && inside(report->verdict.type, bytes));
    must(inside(report->verdict.message, bytes) && inside(report->verdict.traceback, bytes));
    must(report->file_count <= REPORT_FILES);
    for (size_t i = 0; i < report->file_count; i++) {
        must(!path_fault(report->files[i].path));
        must(inside(report->files[i].path, bytes) && inside(report->files[i].data, bytes));
        file_bytes += report->files[i].data.length;
    }
    must(file_bytes <= limits->value[LIMIT_RESULT] && report->result.length <= limits->value[LIMIT_RESULT]);
    if (report->verdict.kind == VERDICT_RESULT || report->verdict.kind == VERDICT_FAILURE)
        must(bytes.length <= report_most(limits));
}

static void check_bodies(const struct facts *facts, const struct report *report, struct span bytes,
                         const struct limits *limits)
{
    static struct outcome outcome;
    struct buffer execute = {0}, whole = {0};
    struct json_value value;
    struct json_error error;
    struct record record = {.id = "1", .environment = "default", .outcome = &outcome, .facts = facts, .report = report};
    record.out = record.err = (struct record_stream){bytes, bytes.length & 1, bytes.length};
    outcome_decide(facts, &report->verdict, limits, &outcome);
    bool success = facts->wait_status == EXIT_REPORTED << 8 && report->verdict.kind == VERDICT_RESULT;
    must((outcome.status == STATUS_OK) == success);
    must((execute_body(&record, &execute) == 200) == success);
    run_record(&record, &whole);
    must(json_check((struct span){execute.bytes, execute.length}, &value, &error) == 0);
    must(json_check((struct span){whole.bytes, whole.length}, &value, &error) == 0);
    buffer_free(&execute);
    buffer_free(&whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct limits limits;
    struct report report;
    struct json_error error;
    if (length == 0)
        return 0;
    limits_default(&limits);
    limits.value[LIMIT_RESULT] = 1024;
    struct facts facts = {.wait_status = endings[bytes[0] % 4]};
    struct span text = {bytes + 1, length - 1};
    must(report_parse(text, nonce, &limits, &report) == 0);
    must((report.verdict.kind == VERDICT_NONE) == (text.length == 0));
    if (report.verdict.kind == VERDICT_RESULT)
        must(json_canonical(report.result, &error) == 0);
    check_report(&report, text, &limits);
    check_bodies(&facts, &report, text, &limits);
    return 0;
}
