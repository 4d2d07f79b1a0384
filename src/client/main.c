/* safe-script-run: the command line's client of the engine, in the place that the HTTP front has under `serve` and with
 * the same protocol, request checks, report checker and outcome function. `safe-script run` starts it with its
 * arguments.
 *
 * It trusts its user, whose files it reads at the start; then it gives up what privileges it has, and only then are
 * there bytes of a script's for it to read. */

#include "frames.h"
#include "json.h"
#include "log.h"
#include "record.h"
#include "report.h"
#include "request.h"
#include "sandbox.h"
#include "scope.h"
#include "wire.h"
#include "words.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

enum { EXIT_USAGE = 2, SUPERVISOR = 3 };

/* The request body under construction: the same JSON that a client would send over HTTP. */
struct arguments {
    const char *script, *input, *stdin_path, *environment;
    struct buffer files, globs;
    bool json;
};

static int complain(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int complain(int status, const char *format, ...)
{
    va_list arguments;
    fputs("safe-script run: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return status;
}

static int read_all(int fd, struct buffer *into)
{
    char bytes[65536];
    for (;;) {
        ssize_t got = read(fd, bytes, sizeof bytes);
        if (got == 0)
            return into->failed ? -1 : 0;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        buffer_append(into, bytes, (size_t)got);
    }
}

static int read_file(const char *path, struct buffer *into)
{
    if (strcmp(path, "-") == 0)
        return read_all(STDIN_FILENO, into);
    auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -1 : read_all(fd, into);
}

static void put(struct buffer *out, const char *text)
{
    buffer_append(out, text, strlen(text));
}

/* PATH=FILE → "PATH":{"base64":"…"} */
static int add_file(struct arguments *arguments, const char *value)
{
    const char *equals = strchr(value, '=');
    struct buffer bytes = {0};
    if (!equals)
        return complain(EXIT_USAGE, "--file needs PATH=FILE, not \"%s\"", value);
    if (read_file(equals + 1, &bytes))
        return complain(EXIT_USAGE, "--file: %s: %s", equals + 1, strerror(errno));
    put(&arguments->files, arguments->files.length ? "," : "");
    json_put_string(&arguments->files, (struct span){(const uint8_t *)value, (size_t)(equals - value)});
    put(&arguments->files, ":{\"base64\":\"");
    base64_encode((struct span){bytes.bytes, bytes.length}, &arguments->files);
    put(&arguments->files, "\"}");
    buffer_free(&bytes);
    return 0;
}

static int add_glob(struct arguments *arguments, const char *value)
{
    put(&arguments->globs, arguments->globs.length ? "," : "");
    json_put_string(&arguments->globs, text_span(value));
    return 0;
}

static int set_input(struct arguments *arguments, const char *value)
{
    struct json_value parsed;
    struct json_error error;
    if (json_check(text_span(value), &parsed, &error))
        return complain(EXIT_USAGE, "--input is not valid JSON: %s at line %zu, column %zu", error.reason, error.line,
                        error.column);
    arguments->input = value;
    return 0;
}

static int set_stdin(struct arguments *arguments, const char *value)
{
    arguments->stdin_path = value;
    return 0;
}

static int set_environment(struct arguments *arguments, const char *value)
{
    arguments->environment = value;
    return 0;
}

static const struct {
    const char *flag;
    int (*use)(struct arguments *arguments, const char *value);
} options[] = {{"--input", set_input},
               {"--stdin", set_stdin},
               {"--file", add_file},
               {"--return", add_glob},
               {"--environment", set_environment}};

/* One option with its value, "--input V" or "--input=V". Returns -1 when it is none of ours. */
static int take_option(struct arguments *arguments, int argc, char **argv, int *at)
{
    for (size_t i = 0; i < COUNT(options); i++) {
        size_t length = strlen(options[i].flag);
        if (strncmp(argv[*at], options[i].flag, length) != 0)
            continue;
        if (argv[*at][length] == '=')
            return options[i].use(arguments, argv[*at] + length + 1);
        if (argv[*at][length])
            continue;
        if (*at + 1 >= argc)
            return complain(EXIT_USAGE, "%s needs a value", options[i].flag);
        return options[i].use(arguments, argv[++*at]);
    }
    return -1;
}

static int parse_arguments(struct arguments *arguments, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            arguments->json = true;
            continue;
        }
        int status = take_option(arguments, argc, argv, &i);
        if (status > 0)
            return status;
        if (status == 0)
            continue;
        if (argv[i][0] == '-' && argv[i][1])
            return complain(EXIT_USAGE, "unknown option \"%s\" (see safe-script run --help)", argv[i]);
        if (arguments->script)
            return complain(EXIT_USAGE, "one script at a time: \"%s\" or \"%s\"?", arguments->script, argv[i]);
        arguments->script = argv[i];
    }
    if (arguments->script)
        return 0;
    complain(EXIT_USAGE, "needs a FILE (see safe-script run --help)");
    return EXIT_USAGE;
}

static int put_text_file(struct buffer *body, const char *name, const char *path)
{
    struct buffer text = {0};
    if (read_file(path, &text)) {
        int status = complain(EXIT_USAGE, "%s: %s", path, strerror(errno));
        buffer_free(&text);
        return status;
    }
    put(body, name);
    json_put_string(body, (struct span){text.bytes, text.length});
    buffer_free(&text);
    return 0;
}

static int make_body(const struct arguments *arguments, struct buffer *body)
{
    int status = put_text_file(body, "{\"script\":", arguments->script);
    if (status == 0 && arguments->stdin_path)
        status = put_text_file(body, ",\"stdin\":", arguments->stdin_path);
    if (arguments->input) {
        put(body, ",\"input\":");
        put(body, arguments->input);
    }
    if (arguments->files.length) {
        put(body, ",\"files\":{");
        buffer_append(body, arguments->files.bytes, arguments->files.length);
        put(body, "}");
    }
    if (arguments->globs.length) {
        put(body, ",\"return_files\":[");
        buffer_append(body, arguments->globs.bytes, arguments->globs.length);
        put(body, "]");
    }
    if (arguments->environment) {
        put(body, ",\"environment\":");
        json_put_string(body, text_span(arguments->environment));
    }
    put(body, "}");
    return status ? status : body->failed ? complain(1, "out of memory") : 0;
}

static int sealed(const struct buffer *bytes)
{
    auto_fd int fd = memfd_create("run", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    size_t done = 0;
    while (fd >= 0 && done < bytes->length) {
        ssize_t wrote = write(fd, bytes->bytes + done, bytes->length - done);
        if (wrote < 0)
            return -1;
        done += (size_t)wrote;
    }
    if (fd < 0 || lseek(fd, 0, SEEK_SET) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL))
        return -1;
    return take_fd(&fd);
}

/* ---- the run ---- */

enum { STREAM_REPORT, STREAM_OUT, STREAM_ERR, STREAMS };

struct stream {
    int fd;
    struct buffer kept;
    uint64_t keep, kill, total;
};

struct exchange {
    struct stream streams[STREAMS];
    struct facts facts;
    bool ended;
};

static void cancel(uint32_t cause)
{
    struct wire_message message = {.type = WIRE_CANCEL, .cancel = {.id = 1, .cause = cause}};
    wire_send(SUPERVISOR, &message);
}

static void stream_read(struct stream *stream, bool report)
{
    char bytes[65536];
    ssize_t got = read(stream->fd, bytes, sizeof bytes);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (got <= 0) {
        drop_fd(&stream->fd);
        return;
    }
    size_t room = stream->keep > stream->kept.length ? stream->keep - stream->kept.length : 0;
    buffer_append(&stream->kept, bytes, (size_t)got < room ? (size_t)got : room);
    if (stream->total <= stream->kill && stream->total + (uint64_t)got > stream->kill)
        cancel(report ? CAUSE_RESULT : CAUSE_OUTPUT);
    stream->total += (uint64_t)got;
}

static void exchange_begin(struct exchange *exchange, struct wire_message *started, const struct limits *limits)
{
    for (int i = 0; i < STREAMS; i++) {
        struct stream *stream = &exchange->streams[i];
        drop_fd(&stream->fd);
        buffer_free(&stream->kept);
        stream->fd = take_fd(&started->fds[i]);
        stream->total = 0;
        stream->keep = i == STREAM_REPORT ? report_most(limits) : limits->value[LIMIT_OUTPUT];
        stream->kill = i == STREAM_REPORT ? stream->keep : stream->keep * OUTPUT_KILL_FACTOR;
    }
}

/* Returns 0, or an exit status. */
static int exchange_message(struct exchange *exchange, const struct limits *limits)
{
    struct wire_message message;
    if (wire_receive(SUPERVISOR, LINK_FRONT, true, &message) != WIRE_OK)
        return complain(1, "the supervisor has gone");
    if (message.type == WIRE_STARTED) {
        exchange_begin(exchange, &message, limits);
    } else if (message.type == WIRE_OUTCOME) {
        exchange->facts = message.outcome.facts;
        exchange->ended = true;
    } else if (message.type == WIRE_REFUSED) {
        return complain(1, "no jail can be made here (see safe-script doctor)");
    }
    wire_close_fds(&message);
    return 0;
}

static int exchange_wait(struct exchange *exchange, const struct limits *limits)
{
    for (;;) {
        struct pollfd fds[STREAMS + 1];
        bool open = !exchange->ended;
        for (int i = 0; i < STREAMS; i++) {
            fds[i] = (struct pollfd){.fd = exchange->streams[i].fd, .events = POLLIN};
            open |= exchange->streams[i].fd >= 0;
        }
        if (!open)
            return 0;
        fds[STREAMS] = (struct pollfd){.fd = SUPERVISOR, .events = POLLIN};
        if (poll(fds, STREAMS + 1, -1) < 0)
            continue;
        for (int i = 0; i < STREAMS; i++) {
            if (fds[i].revents)
                stream_read(&exchange->streams[i], i == STREAM_REPORT);
        }
        int status = fds[STREAMS].revents ? exchange_message(exchange, limits) : 0;
        if (status)
            return status;
    }
}

static struct record_stream record_stream(const struct stream *stream)
{
    return (struct record_stream){.kept = {stream->kept.bytes, stream->kept.length},
                                  .truncated = stream->total > stream->keep,
                                  .total = stream->total};
}

static void print_bytes(FILE *out, struct span bytes)
{
    fwrite(bytes.bytes, 1, bytes.length, out);
}

static int print_record(const struct record *record)
{
    struct buffer body = {0};
    run_record(record, &body);
    if (body.failed)
        return complain(1, "out of memory");
    print_bytes(stdout, (struct span){body.bytes, body.length});
    putchar('\n');
    buffer_free(&body);
    return 0;
}

static void print_run(const struct record *record)
{
    print_bytes(stderr, record->out.kept);
    print_bytes(stderr, record->err.kept);
    if (record->outcome->status == STATUS_OK) {
        print_bytes(stdout, record->report->result);
        putchar('\n');
        return;
    }
    struct span traceback = record->report->verdict.traceback;
    print_bytes(stderr, traceback);
    if (traceback.length && traceback.bytes[traceback.length - 1] != '\n')
        fputc('\n', stderr);
    fprintf(stderr, "safe-script run: %s\n", record->outcome->text);
    for (size_t i = 0; i < record->denied_count; i++)
        fprintf(stderr, "safe-script run: denied %u times: %s: %s\n", record->denied[i].count, record->denied[i].what,
                record->denied[i].hint);
}

static int finish(struct exchange *exchange, const uint8_t *nonce, const struct request *request,
                  const char *environment, bool json)
{
    static struct report report;
    static struct outcome outcome;
    static struct record_words words;
    const struct stream *streams = exchange->streams;
    report_parse((struct span){streams[STREAM_REPORT].kept.bytes, streams[STREAM_REPORT].kept.length}, nonce,
                 &request->limits, &report);
    if (streams[STREAM_OUT].total > streams[STREAM_OUT].kill || streams[STREAM_ERR].total > streams[STREAM_ERR].kill)
        exchange->facts.cause = CAUSE_OUTPUT;
    outcome_decide(&exchange->facts, &report.verdict, &request->limits, &outcome);
    struct record record = {.id = "run",
                            .environment = environment,
                            .outcome = &outcome,
                            .facts = &exchange->facts,
                            .report = &report,
                            .out = record_stream(&streams[STREAM_OUT]),
                            .err = record_stream(&streams[STREAM_ERR])};
    record_words_fill(&words, &exchange->facts, &record);
    int status = 0;
    if (json)
        status = print_record(&record);
    else
        print_run(&record);
    if (fflush(stdout))
        status = complain(1, "standard output: %s", strerror(errno));
    return status ? status : outcome.status == STATUS_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    static struct wire_message setup, ask;
    static struct request request;
    static struct request_error error;
    static struct environment_offers offers;
    struct arguments arguments = {0};
    struct exchange exchange = {.streams = {{.fd = -1}, {.fd = -1}, {.fd = -1}}};
    struct buffer body = {0};
    uint8_t nonce[NONCE_BYTES];
    if (wire_receive(SUPERVISOR, LINK_FRONT, true, &setup) != WIRE_OK || setup.type != WIRE_SETUP)
        return complain(1, "is started by safe-script, not by hand");
    if (pread(setup.fds[1], &offers, sizeof offers, 0) != sizeof offers)
        return complain(1, "the table of environments cannot be read");
    wire_close_fds(&setup);
    int status = parse_arguments(&arguments, argc, argv);
    if (status == 0)
        status = make_body(&arguments, &body);
    if (status)
        return status;
    if (getrandom(nonce, sizeof nonce, 0) != sizeof nonce)
        return complain(1, "getrandom: %s", strerror(errno));
    struct limits most;
    for (int i = 0; i < LIMIT_COUNT; i++)
        most.value[i] = UINT64_MAX;
    offers.rows[ENVIRONMENT_DEFAULT].limits.value[LIMIT_REQUEST] = UINT64_MAX; /* the limit is for strangers */
    if (request_parse((struct span){body.bytes, body.length}, "application/json", &offers, &most, nonce, &request,
                      &error))
        return complain(EXIT_USAGE, "%s", error.text);
    request.limits.value[LIMIT_REQUEST] = setup.setup.limits.value[LIMIT_REQUEST];
    ask = (struct wire_message){.type = WIRE_RUN, .fd_count = 1};
    ask.run = (struct wire_run){.id = 1,
                                .limits = request.limits,
                                .has_stdin = request.has_stdin,
                                .environment = request.environment,
                                .warmer = request.environment};
    ask.fds[0] = sealed(&request.job);
    if (request.has_stdin)
        ask.fds[ask.fd_count++] = sealed(&request.stdin_bytes);
    if (ask.fds[0] < 0 || (request.has_stdin && ask.fds[1] < 0))
        return complain(1, "memfd_create: %s", strerror(errno));
    struct fault fault;
    if (sandbox_client(&fault)) {
        char text[768];
        return complain(1, "%s", fault_text(&fault, text, sizeof text));
    }
    if (wire_send(SUPERVISOR, &ask) != WIRE_OK)
        return complain(1, "the supervisor has gone");
    wire_close_fds(&ask);
    status = exchange_wait(&exchange, &request.limits);
    return status ? status : finish(&exchange, nonce, &request, offers.rows[request.environment].name, arguments.json);
}
