#include "record.h"

#include "json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static void put(struct buffer *out, const char *text)
{
    buffer_append(out, text, strlen(text));
}

static void put_text(struct buffer *out, const char *text)
{
    json_put_string(out, text_span(text));
}

static void put_number(struct buffer *out, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    put(out, text);
}

/* For facts that some kernels do not tell: 0 is "not known". */
static void put_known(struct buffer *out, uint64_t value)
{
    if (value)
        put_number(out, value);
    else
        put(out, "null");
}

static void put_flag(struct buffer *out, bool value)
{
    put(out, value ? "true" : "false");
}

static struct span stream_text(const struct record_stream *stream)
{
    return stream->truncated ? utf8_uncut(stream->kept) : stream->kept;
}

static bool has_result(const struct record *record)
{
    return record->outcome->status == STATUS_OK && record->report->verdict.kind == VERDICT_RESULT;
}

/* Whether the run came to its own end: what was reported by one that we or the kernel killed has no weight, not even in
 * the details. */
static bool has_report(const struct record *record)
{
    return record->facts->cause == CAUSE_NONE && WIFEXITED(record->facts->wait_status);
}

unsigned execute_body(const struct record *record, struct buffer *out)
{
    struct span text = stream_text(&record->out);
    if (!has_result(record)) {
        error_body(record->outcome->text, out);
        return (unsigned)status_table[record->outcome->status].execute_http;
    }
    while (text.length && text.bytes[text.length - 1] == '\n')
        text.length--;
    put(out, "{\"result\":");
    buffer_append(out, record->report->result.bytes, record->report->result.length);
    put(out, ",\"stdout\":");
    json_put_string(out, text);
    put(out, record->out.truncated ? ",\"stdout_truncated\":true}" : "}");
    return (unsigned)status_table[STATUS_OK].execute_http;
}

static void put_error(struct buffer *out, const struct record *record)
{
    const struct outcome *outcome = record->outcome;
    const struct verdict *verdict = &record->report->verdict;
    if (outcome->status == STATUS_OK) {
        put(out, "null");
        return;
    }
    put(out, "{\"type\":");
    put_text(out, outcome->type);
    put(out, ",\"message\":");
    put_text(out, outcome->message);
    put(out, ",\"line\":");
    put_known(out, outcome->line);
    put(out, ",\"traceback\":");
    if (has_report(record) && verdict->kind == VERDICT_FAILURE && verdict->traceback.length)
        json_put_string(out, verdict->traceback);
    else
        put(out, "null");
    put(out, "}");
}

static void put_files(struct buffer *out, const struct record *record)
{
    size_t count = has_report(record) ? record->report->file_count : 0;
    put(out, "[");
    for (size_t i = 0; i < count; i++) {
        const struct report_file *file = &record->report->files[i];
        put(out, i ? ",{\"path\":" : "{\"path\":");
        json_put_string(out, file->path);
        put(out, ",\"size\":");
        put_number(out, file->data.length);
        put(out, ",\"content\":\"");
        base64_encode(file->data, out);
        put(out, "\"}");
    }
    put(out, "]");
}

static void put_denied(struct buffer *out, const struct record *record)
{
    put(out, "[");
    for (size_t i = 0; i < record->denied_count; i++) {
        put(out, i ? ",{\"what\":" : "{\"what\":");
        put_text(out, record->denied[i].what);
        put(out, ",\"count\":");
        put_number(out, record->denied[i].count);
        put(out, ",\"hint\":");
        put_text(out, record->denied[i].hint);
        put(out, "}");
    }
    put(out, "]");
}

static void put_usage(struct buffer *out, const struct record *record)
{
    const struct facts *facts = record->facts;
    put(out, "{\"queued_ms\":");
    put_number(out, facts->queued_us / 1000);
    put(out, ",\"wall_ms\":");
    put_number(out, facts->wall_us / 1000);
    put(out, ",\"cpu_ms\":");
    put_number(out, facts->cpu_us / 1000);
    put(out, ",\"memory_peak_bytes\":");
    put_known(out, facts->memory_peak_bytes);
    put(out, ",\"processes_peak\":");
    put_known(out, facts->processes_peak);
    put(out, ",\"stdout_bytes\":");
    put_number(out, record->out.total);
    put(out, "}");
}

static void put_jail(struct buffer *out, const struct record *record)
{
    put(out, "{\"layers\":[");
    for (size_t i = 0; i < record->layer_count; i++) {
        put(out, i ? "," : "");
        put_text(out, record->layers[i]);
    }
    put(out, "]}");
}

static void put_id(struct buffer *out, const struct record *record)
{
    put_text(out, record->id);
}

static void put_status(struct buffer *out, const struct record *record)
{
    put_text(out, status_table[record->outcome->status].name);
}

static void put_result(struct buffer *out, const struct record *record)
{
    if (has_result(record))
        buffer_append(out, record->report->result.bytes, record->report->result.length);
    else
        put(out, "null");
}

static void put_stdout(struct buffer *out, const struct record *record)
{
    json_put_string(out, stream_text(&record->out));
}

static void put_stderr(struct buffer *out, const struct record *record)
{
    json_put_string(out, stream_text(&record->err));
}

static void put_stdout_truncated(struct buffer *out, const struct record *record)
{
    put_flag(out, record->out.truncated);
}

static void put_stderr_truncated(struct buffer *out, const struct record *record)
{
    put_flag(out, record->err.truncated);
}

static void put_environment(struct buffer *out, const struct record *record)
{
    put_text(out, record->environment);
}

const struct record_field record_fields[] = {
    {"id", "'type':'string'", "the run's own", put_id},
    {"status", "'$ref':'#/components/schemas/Status'", "how the run ended", put_status},
    {"result", "'type':['object','null']", "what main() returned; null unless status is ok", put_result},
    {"stdout", "'type':'string'", "what it printed, invalid UTF-8 replaced", put_stdout},
    {"stderr", "'type':'string'", "the same for standard error", put_stderr},
    {"stdout_truncated", "'type':'boolean'", "more was printed than output_bytes", put_stdout_truncated},
    {"stderr_truncated", "'type':'boolean'", "the same for standard error", put_stderr_truncated},
    {"error", "'oneOf':[{'$ref':'#/components/schemas/RunError'},{'type':'null'}]", "why status is not ok", put_error},
    {"files", "'type':'array','items':{'$ref':'#/components/schemas/ReturnedFile'}",
     "those that return_files asked for", put_files},
    {"denied", "'type':'array','items':{'$ref':'#/components/schemas/Denial'}", "system calls that the jail refused",
     put_denied},
    {"usage", "'$ref':'#/components/schemas/Usage'", "what the run used", put_usage},
    {"jail", "'$ref':'#/components/schemas/RunJail'", "the layers that were on", put_jail},
    {"environment", "'type':'string'", "the environment that it ran in", put_environment},
};
const size_t record_field_count = sizeof record_fields / sizeof *record_fields;

size_t run_record(const struct record *record, struct buffer *out)
{
    size_t result_at = 0;
    for (size_t i = 0; i < record_field_count; i++) {
        put(out, i ? "," : "{");
        put_text(out, record_fields[i].name);
        put(out, ":");
        if (record_fields[i].put == put_result)
            result_at = out->length;
        record_fields[i].put(out, record);
    }
    put(out, "}");
    return result_at;
}

void run_progress(const char *id, const char *status, const char *environment, struct buffer *out)
{
    put(out, "{\"id\":");
    put_text(out, id);
    put(out, ",\"status\":");
    put_text(out, status);
    put(out, ",\"environment\":");
    put_text(out, environment);
    put(out, "}");
}

void error_body(const char *text, struct buffer *out)
{
    char line[sizeof((struct outcome *)NULL)->text];
    put(out, "{\"error\":");
    json_put_string(out, (struct span){(const uint8_t *)line, text_one_line(line, sizeof line, text_span(text))});
    put(out, "}");
}

void problem_body(unsigned status, const char *title, const char *detail, struct buffer *out)
{
    put(out, "{\"type\":\"about:blank\",\"title\":");
    put_text(out, title);
    put(out, ",\"status\":");
    put_number(out, status);
    put(out, ",\"detail\":");
    put_text(out, detail);
    put(out, "}");
}
