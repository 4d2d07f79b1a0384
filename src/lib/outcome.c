#include "outcome.h"

#include "scope.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

const struct status_row status_table[STATUS_COUNT] = {
    [STATUS_OK] = {"ok", 200, "main() returned a JSON object"},
    [STATUS_SCRIPT_ERROR] = {"script_error", 400, "the script raised an exception or does not compile"},
    [STATUS_CONTRACT_ERROR] = {"contract_error", 400, "no main(), no value, not an object, or not serialisable"},
    [STATUS_TIME_LIMIT] = {"time_limit", 400, "the wall-clock limit ended the run"},
    [STATUS_CPU_LIMIT] = {"cpu_limit", 400, "the CPU limit ended the run"},
    [STATUS_MEMORY_LIMIT] = {"memory_limit", 400, "the memory limit ended the run"},
    [STATUS_OUTPUT_LIMIT] = {"output_limit", 400, "far too much output, or a result past its limit"},
    [STATUS_PROCESS_LIMIT] = {"process_limit", 400, "the run failed for want of another process or thread"},
    [STATUS_DISK_LIMIT] = {"disk_limit", 400, "the run failed for want of disk space"},
    [STATUS_KILLED] = {"killed", 400, "a signal ended the script"},
    [STATUS_EXITED] = {"exited", 400, "the script exited before main() returned"},
    [STATUS_CANCELLED] = {"cancelled", 400, "the client cancelled the run or went away"},
    [STATUS_LOST] = {"lost", 500, "the server's fault, never the script's"},
};

static const struct {
    int number;
    const char *name;
} signals[] = {
    {SIGHUP, "SIGHUP"},       {SIGINT, "SIGINT"},   {SIGQUIT, "SIGQUIT"}, {SIGILL, "SIGILL"},
    {SIGTRAP, "SIGTRAP"},     {SIGABRT, "SIGABRT"}, {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},
    {SIGKILL, "SIGKILL"},     {SIGUSR1, "SIGUSR1"}, {SIGSEGV, "SIGSEGV"}, {SIGUSR2, "SIGUSR2"},
    {SIGPIPE, "SIGPIPE"},     {SIGALRM, "SIGALRM"}, {SIGTERM, "SIGTERM"}, {SIGXCPU, "SIGXCPU"},
    {SIGSTKFLT, "SIGSTKFLT"}, {SIGXFSZ, "SIGXFSZ"}, {SIGPROF, "SIGPROF"}, {SIGVTALRM, "SIGVTALRM"},
    {SIGPWR, "SIGPWR"},       {SIGIO, "SIGIO"},     {SIGSYS, "SIGSYS"},
};

const char *signal_name(int number, char text[16])
{
    for (size_t i = 0; i < COUNT(signals); i++) {
        if (signals[i].number == number)
            return signals[i].name;
    }
    snprintf(text, 16, "signal %d", number);
    return text;
}

/* Length of the valid UTF-8 sequence at the front of from, 0 when there is none (RFC 3629: no overlong, no surrogate).
 */
static size_t utf8_sequence(struct span from)
{
    const uint8_t *b = from.bytes;
    uint8_t low = 0x80, high = 0xbf;
    size_t length;
    if (b[0] < 0x80)
        return 1;
    if (b[0] >= 0xc2 && b[0] <= 0xdf)
        length = 2;
    else if ((b[0] & 0xf0) == 0xe0)
        length = 3;
    else if (b[0] >= 0xf0 && b[0] <= 0xf4)
        length = 4;
    else
        return 0;
    low = b[0] == 0xe0 ? 0xa0 : b[0] == 0xf0 ? 0x90 : low;
    high = b[0] == 0xed ? 0x9f : b[0] == 0xf4 ? 0x8f : high;
    if (from.length < length || b[1] < low || b[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++) {
        if ((b[i] & 0xc0) != 0x80)
            return 0;
    }
    return length;
}

size_t text_one_line(char *text, size_t size, struct span from)
{
    static const char ellipsis[] = "…", replacement[] = "\xef\xbf\xbd";
    size_t used = 0, cut = 0; /* cut: where the text ends if the ellipsis has to follow */
    while (from.length) {
        size_t taken = utf8_sequence(from), length = taken;
        const char *piece = (const char *)from.bytes;
        if (taken == 0) {
            piece = replacement;
            length = 3;
            taken = 1;
        } else if (taken == 1 && (*piece < 0x20 || *piece == 0x7f)) {
            piece = " ";
        } else if (taken == 2 && (uint8_t)piece[0] == 0xc2 && (uint8_t)piece[1] < 0xa0) {
            piece = " "; /* C1 controls */
            length = 1;
        }
        if (used + length + 1 > size) {
            memcpy(text + cut, ellipsis, sizeof ellipsis);
            return cut + sizeof ellipsis - 1;
        }
        memcpy(text + used, piece, length);
        used += length;
        if (used + sizeof ellipsis <= size)
            cut = used;
        from.bytes += taken;
        from.length -= taken;
    }
    text[used] = 0;
    return used;
}

static void decide(struct outcome *outcome, enum status status, const char *message)
{
    outcome->status = status;
    snprintf(outcome->type, sizeof outcome->type, "%s", status_table[status].name);
    snprintf(outcome->message, sizeof outcome->message, "%s", message);
    snprintf(outcome->text, sizeof outcome->text, "%s", message);
}

static void decide_limit(struct outcome *outcome, enum status status, enum limit limit, const struct limits *limits)
{
    char text[96];
    decide(outcome, status, limit_exceeded(limit, limits, text, sizeof text));
}

static void decide_signal(struct outcome *outcome, int number)
{
    char name[16], text[64];
    snprintf(text, sizeof text, "script was killed by signal %s", signal_name(number, name));
    decide(outcome, STATUS_KILLED, text);
}

static void decide_exited(struct outcome *outcome, int code)
{
    char text[64];
    snprintf(text, sizeof text, "script exited with status %d before main() returned", code);
    decide(outcome, STATUS_EXITED, text);
}

/* "ZeroDivisionError: division by zero (script.py, line 2)" */
static void decide_raised(struct outcome *outcome, const struct verdict *verdict)
{
    char place[48] = "";
    outcome->status = STATUS_SCRIPT_ERROR;
    outcome->line = verdict->line;
    if (text_one_line(outcome->type, sizeof outcome->type, verdict->type) == 0)
        snprintf(outcome->type, sizeof outcome->type, "Exception");
    text_one_line(outcome->message, sizeof outcome->message, verdict->message);
    if (verdict->line)
        snprintf(place, sizeof place, " (script.py, line %u)", verdict->line);
    snprintf(outcome->text, sizeof outcome->text, "%s%s%s%s", outcome->type, *outcome->message ? ": " : "",
             outcome->message, place);
}

static void decide_message(struct outcome *outcome, enum status status, const struct verdict *verdict,
                           const char *otherwise)
{
    char message[sizeof outcome->message];
    if (text_one_line(message, sizeof message, verdict->message) == 0)
        snprintf(message, sizeof message, "%s", otherwise);
    decide(outcome, status, message);
}

/* A failure that the run reported itself; each can only be a failure, whoever wrote it. */
static void decide_failure(struct outcome *outcome, const struct facts *facts, const struct verdict *verdict,
                           const struct limits *limits)
{
    switch (verdict->failure) {
    case FAIL_NO_MAIN:
        decide(outcome, STATUS_CONTRACT_ERROR, "Script must define a function named main()");
        return;
    case FAIL_NO_VALUE:
        decide(outcome, STATUS_CONTRACT_ERROR, "main() did not return a value");
        return;
    case FAIL_NOT_OBJECT:
        decide(outcome, STATUS_CONTRACT_ERROR, "main() must return a JSON object (e.g., a Python dict)");
        return;
    case FAIL_NOT_JSON:
        decide_message(outcome, STATUS_CONTRACT_ERROR, verdict, "main() returned what JSON cannot hold");
        return;
    case FAIL_TOO_BIG:
        decide_limit(outcome, STATUS_OUTPUT_LIMIT, LIMIT_RESULT, limits);
        return;
    case FAIL_MEMORY:
        decide_limit(outcome, STATUS_MEMORY_LIMIT, LIMIT_MEMORY, limits);
        break;
    case FAIL_DISK:
        decide_limit(outcome, STATUS_DISK_LIMIT, LIMIT_DISK, limits);
        break;
    case FAIL_PROCESSES:
        decide_limit(outcome, STATUS_PROCESS_LIMIT, LIMIT_PROCESSES, limits);
        break;
    case FAIL_FILES:
        decide_message(outcome, STATUS_SCRIPT_ERROR, verdict, "the request's files could not be placed");
        return;
    case FAIL_SYNTAX:
    case FAIL_RAISED:
    case FAIL_COUNT:
    default:
        decide_raised(outcome, verdict);
        if (facts->oom_kills)
            decide_limit(outcome, STATUS_MEMORY_LIMIT, LIMIT_MEMORY, limits);
        break;
    }
    outcome->line = verdict->line;
}

static void decide_exit(struct outcome *outcome, const struct facts *facts, const struct verdict *verdict,
                        const struct limits *limits)
{
    int code = WEXITSTATUS(facts->wait_status);
    if (code == EXIT_REPORTED && verdict->kind == VERDICT_RESULT)
        *outcome = (struct outcome){.status = STATUS_OK};
    else if (code == EXIT_FAILED && verdict->kind == VERDICT_FAILURE)
        decide_failure(outcome, facts, verdict, limits);
    else if (verdict->kind == VERDICT_NONE && code == EXIT_NO_CHANNEL)
        decide(outcome, STATUS_SCRIPT_ERROR, "the script closed the channel that carries its result");
    else if (code != 0 || verdict->kind == VERDICT_NONE)
        decide_exited(outcome, code);
    else
        decide(outcome, STATUS_SCRIPT_ERROR, "the script wrote to the channel that carries its result");
    if (facts->oom_kills && outcome->status == STATUS_EXITED)
        decide_limit(outcome, STATUS_MEMORY_LIMIT, LIMIT_MEMORY, limits);
}

static void decide_killed(struct outcome *outcome, const struct facts *facts, const struct limits *limits)
{
    int number = WTERMSIG(facts->wait_status);
    bool from_kernel = number == SIGKILL && !facts->self_signal;
    if (from_kernel && facts->oom_kills)
        decide_limit(outcome, STATUS_MEMORY_LIMIT, LIMIT_MEMORY, limits);
    else if (number == SIGXCPU || (from_kernel && facts->cpu_us / 1000 >= limits->value[LIMIT_CPU]))
        decide_limit(outcome, STATUS_CPU_LIMIT, LIMIT_CPU, limits);
    else
        decide_signal(outcome, facts->self_signal ? facts->self_signal : number);
}

void outcome_decide(const struct facts *facts, const struct verdict *verdict, const struct limits *limits,
                    struct outcome *outcome)
{
    memset(outcome, 0, sizeof *outcome);
    outcome->status = STATUS_LOST; /* until something is known: never a success by default */
    switch ((enum cause)facts->cause) {
    case CAUSE_OUTPUT:
        decide_limit(outcome, STATUS_OUTPUT_LIMIT, LIMIT_OUTPUT, limits);
        return;
    case CAUSE_RESULT:
        decide_limit(outcome, STATUS_OUTPUT_LIMIT, LIMIT_RESULT, limits);
        return;
    case CAUSE_CANCELLED:
        decide(outcome, STATUS_CANCELLED, "the run was cancelled");
        return;
    case CAUSE_WALL:
        decide_limit(outcome, STATUS_TIME_LIMIT, LIMIT_WALL, limits);
        return;
    case CAUSE_CPU:
        decide_limit(outcome, STATUS_CPU_LIMIT, LIMIT_CPU, limits);
        return;
    case CAUSE_NONE:
        break;
    case CAUSE_LOST:
    case CAUSE_COUNT:
    default:
        decide(outcome, STATUS_LOST, "the server lost the run; it is safe to send it again");
        return;
    }
    if (WIFEXITED(facts->wait_status))
        decide_exit(outcome, facts, verdict, limits);
    else if (WIFSIGNALED(facts->wait_status))
        decide_killed(outcome, facts, limits);
    else
        decide(outcome, STATUS_LOST, "the server lost the run; it is safe to send it again");
}
