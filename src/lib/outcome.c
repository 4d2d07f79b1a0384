#include "outcome.h"

#include "scope.h"
#include "text.h"

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

static void decide_lost(struct outcome *outcome)
{
    decide(outcome, STATUS_LOST, "the server lost the run; it is safe to send it again");
}

static void decide_signal(struct outcome *outcome, int number)
{
    char other[16], text[64];
    const char *name = signal_name(number, other);
    snprintf(text, sizeof text, "script was killed by %s%s", name == other ? "" : "signal ", name);
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
    char text[64];
    /* No fault of the script's, which would have had the room. */
    if (facts->disk_short && (verdict->failure == FAIL_DISK || verdict->failure == FAIL_FILES)) {
        decide_lost(outcome);
        return;
    }
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
    case FAIL_TOO_MANY:
        snprintf(text, sizeof text, "return_files limit exceeded: %d files", REPORT_FILES);
        decide(outcome, STATUS_OUTPUT_LIMIT, text);
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
    else if ((number == SIGXCPU && !facts->self_signal) ||
             (from_kernel && facts->cpu_us / 1000 >= limits->value[LIMIT_CPU]))
        decide_limit(outcome, STATUS_CPU_LIMIT, LIMIT_CPU, limits);
    else
        decide_signal(outcome, facts->self_signal ? facts->self_signal : number);
}

void outcome_decide(const struct facts *facts, const struct verdict *verdict, const struct limits *limits,
                    struct outcome *outcome)
{
    outcome->status = STATUS_LOST; /* until something is known: never a success by default */
    outcome->type[0] = outcome->message[0] = outcome->text[0] = 0;
    outcome->line = 0;
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
    case CAUSE_DISK:
        decide_limit(outcome, STATUS_DISK_LIMIT, LIMIT_DISK, limits);
        return;
    case CAUSE_PROCESSES:
        decide_limit(outcome, STATUS_PROCESS_LIMIT, LIMIT_PROCESSES, limits);
        return;
    case CAUSE_CPU:
        decide_limit(outcome, STATUS_CPU_LIMIT, LIMIT_CPU, limits);
        return;
    case CAUSE_NONE:
        break;
    case CAUSE_LOST:
    case CAUSE_COUNT:
    default:
        decide_lost(outcome);
        return;
    }
    if (WIFEXITED(facts->wait_status))
        decide_exit(outcome, facts, verdict, limits);
    else if (WIFSIGNALED(facts->wait_status))
        decide_killed(outcome, facts, limits);
    else
        decide_lost(outcome);
}
