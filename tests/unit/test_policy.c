/* policy.c and what is read from it: the list keeps its promises (how many calls, how many of them checked, each with a
 * reason), and every refusal has its words. */
#include "support.h"

#include "jail.h"
#include "layers.h"
#include "policy.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>

enum { ALLOWED_MOST = 60, CHECKED_LEAST = 12 };

static bool has_checks(const struct call_row *row)
{
    return row->check[0].compare != ARG_ANY;
}

/* The kernel may be made to do what the call says. It is so where the supervisor says yes, too; a constant answer is
 * none of the kernel's. */
static bool reaches_kernel(const struct call_row *row)
{
    return row->verb == ALLOW || row->verb == ASK;
}

/* Rows whose call no earlier row of the same kind has. */
static size_t count_calls(bool (*counts)(const struct call_row *row))
{
    size_t count = 0;
    for (size_t i = 0; i < policy_call_count; i++) {
        bool again = !counts(&policy_calls[i]);
        for (size_t j = 0; j < i && !again; j++)
            again = counts(&policy_calls[j]) && policy_calls[j].number == policy_calls[i].number;
        count += !again;
    }
    return count;
}

static bool is_checked(const struct call_row *row)
{
    return row->verb == ALLOW && has_checks(row);
}

static bool is_answered(const struct call_row *row)
{
    return row->verb == ANSWER;
}

static void test_policy_figures(void **state)
{
    (void)state;
    size_t allowed = count_calls(reaches_kernel), checked = count_calls(is_checked);
    printf("%zu calls reach the kernel, %zu of them checked; %zu are answered without it\n", allowed, checked,
           count_calls(is_answered));
    assert_true(allowed >= 1 && allowed <= ALLOWED_MOST);
    assert_true(checked >= CHECKED_LEAST && checked <= ALLOWED_MOST);
}

/* policy.h: a call has either one row without checks, or rows that all have some and perhaps a DENY row without. */
static void test_policy_rows_do_not_contradict(void **state)
{
    (void)state;
    for (size_t i = 0; i < policy_call_count; i++) {
        const struct call_row *row = &policy_calls[i];
        for (size_t j = 0; j < policy_call_count; j++) {
            const struct call_row *other = &policy_calls[j];
            if (i != j && other->number == row->number && !has_checks(row) && row->verb != DENY)
                fail_msg("rows %zu and %zu: a call with a row that checks nothing has others", i, j);
            if (i != j && other->number == row->number && !has_checks(row) && !has_checks(other))
                fail_msg("rows %zu and %zu: two for the rest of a call", i, j);
        }
    }
}

static void test_policy_rows_are_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < policy_call_count; i++) {
        const struct call_row *row = &policy_calls[i];
        if (!row->reason || !*row->reason)
            fail_msg("row %zu has no reason", i);
        if (row->verb == QUIET || row->verb == DENY)
            assert_true(row->error >= 0 && row->error <= 4095);
        if (row->verb == ALLOW)
            assert_int_equal(row->error, 0);
        for (size_t j = 0; j < COUNT(row->check); j++) {
            const struct argument_check *check = &row->check[j];
            assert_true(check->index <= 5);
            /* Under a mask of 32 bits, else the upper half of a register, which the kernel ignores, decides. */
            if (check->compare == ARG_MASKED && (check->mask > UINT32_MAX || (check->value & ~check->mask)))
                fail_msg("row %zu, check %zu: its mask or value", i, j);
        }
    }
}

/* A call that the row is about. */
static struct seccomp_data example_of(const struct call_row *row)
{
    struct seccomp_data data = {.nr = row->number, .args = {1, 1, 1, 1, 1, 1}};
    for (size_t i = 0; i < COUNT(row->check); i++) {
        if (row->check[i].compare != ARG_ANY)
            data.args[row->check[i].index] = row->check[i].value;
    }
    return data;
}

struct words {
    char what[96], hint[192];
};

static void word(const struct denial *denial, uint32_t layers, struct words *words)
{
    const struct jail_plan plan = {.layers = layers};
    jail_denial_text(denial, &plan, words->what, sizeof words->what, words->hint, sizeof words->hint);
}

static void test_policy_words_for_every_denial(void **state)
{
    (void)state;
    for (size_t i = 0; i < policy_call_count; i++) {
        const struct call_row *row = &policy_calls[i];
        if (row->verb != DENY || row->number < 0)
            continue;
        struct seccomp_data data = example_of(row);
        struct denial denial = {.number = row->number, .count = 1};
        struct words words;
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, row->number);
        assert_int_equal(jail_denial_error(&data, &denial.detail), row->error ? row->error : EPERM);
        word(&denial, UINT32_MAX, &words);
        assert_non_null(name);
        assert_memory_equal(words.what, row->as ? row->as : name, strlen(row->as ? row->as : name));
        assert_string_equal(words.hint, row->reason);
        free(name);
    }
}

static void assert_words(struct denial denial, uint32_t layers, const char *what, const char *hint)
{
    struct words words;
    word(&denial, layers, &words);
    assert_string_equal(words.what, what);
    assert_string_equal(words.hint, hint);
}

static void test_policy_words(void **state)
{
    const uint32_t all = UINT32_MAX, threads = all & ~LAYER_BIT(LAYER_CGROUP);
    (void)state;
    assert_words((struct denial){.number = SCMP_SYS(socket), .detail = 2}, all, "socket(AF_INET)",
                 "the network is off in this jail");
    assert_words((struct denial){.number = SCMP_SYS(socket), .detail = 0x1234}, all, "socket(0x1234)",
                 "the network is off in this jail");
    assert_words((struct denial){.number = SCMP_SYS(openat)}, all, "openat", "not with these arguments in this jail");
    assert_words((struct denial){.number = SCMP_SYS(fsmount)}, all, "fsmount",
                 "not among the system calls that a script may make");
    assert_words((struct denial){.number = 9999}, all, "system call 9999",
                 "not among the system calls that a script may make");
    assert_words((struct denial){.number = SCMP_SYS(clone), .detail = CLONE_VM | CLONE_VFORK | SIGCHLD}, all,
                 "posix_spawn", "programs cannot be started in this jail");
    assert_words((struct denial){.number = SCMP_SYS(clone)}, threads, "fork",
                 "processes are limited to threads here because no cgroup can be had that counts them");
    assert_words((struct denial){.number = SCMP_SYS(clone)}, threads & ~LAYER_BIT(LAYER_NAMESPACES), "fork",
                 "processes are limited to threads here because no pid namespace can be had");
    assert_words((struct denial){.number = SCMP_SYS(clone), .detail = CLONE_NEWUSER}, threads, "clone(0x10000000)",
                 "new namespaces and unusual clones are refused; programs cannot be started");
}

/* The supervisor's answers are for the calls that they are for, and nothing else. */
static void test_policy_questions(void **state)
{
    (void)state;
    for (size_t i = 0; i < policy_call_count; i++) {
        const struct call_row *row = &policy_calls[i];
        struct seccomp_data data = example_of(row);
        int64_t value = -1;
        int status = -1;
        assert_int_equal(jail_is_signal_question(&data), row->verb == ASK);
        assert_int_equal(jail_answer(&data, &value), row->verb == ANSWER);
        assert_int_equal(value, row->verb == ANSWER ? row->error : -1);
        assert_int_equal(jail_is_end(&data, &status), row->verb == END);
        assert_int_equal(status, row->verb == END ? 1 : -1);
        data.args[0]++; /* a script's own call */
        assert_int_equal(jail_is_end(&data, &status), false);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policy_figures),        cmocka_unit_test(test_policy_rows_do_not_contradict),
        cmocka_unit_test(test_policy_rows_are_whole), cmocka_unit_test(test_policy_words_for_every_denial),
        cmocka_unit_test(test_policy_words),          cmocka_unit_test(test_policy_questions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
