/* The filter's compiler: what it makes of the policy gives every call what libseccomp's program of the same rules gives
 * it, in every kind of plan and with each row left out; and of any rules, what they say. Both programs are interpreted
 * here, over each number and the arguments at which something could change. */
#include "support.h"

#include "filter.h"
#include "layers.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>

enum { LENGTH_MOST = 4096, RULES_MOST = 512, VALUES_MOST = 4096 };

struct program {
    struct sock_filter code[LENGTH_MOST];
    size_t length;
};

/* ---- what a program says ---- */

/* *asked: whether it looked at an argument, so that the kernel cannot know the answer by the number. */
static uint32_t interpret(const struct program *program, const struct seccomp_data *data, bool *asked)
{
    uint32_t accumulator = 0;
    *asked = false;
    for (size_t at = 0; at < program->length; at++) {
        const struct sock_filter *op = &program->code[at];
        bool jumps = BPF_CLASS(op->code) == BPF_JMP, holds = false;
        switch (op->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            assert_true(op->k % 4 == 0 && op->k < sizeof *data);
            memcpy(&accumulator, (const char *)data + op->k, sizeof accumulator);
            *asked |= op->k >= offsetof(struct seccomp_data, args);
            break;
        case BPF_ALU | BPF_AND | BPF_K:
            accumulator &= op->k;
            break;
        case BPF_RET | BPF_K:
            return op->k;
        case BPF_JMP | BPF_JA:
            at += op->k;
            continue;
        case BPF_JMP | BPF_JEQ | BPF_K:
            holds = accumulator == op->k;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            holds = accumulator >= op->k;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            holds = accumulator > op->k;
            break;
        case BPF_JMP | BPF_JSET | BPF_K:
            holds = accumulator & op->k;
            break;
        default:
            fail_msg("instruction %zu: %#x", at, op->code);
        }
        at += jumps ? (holds ? op->jt : op->jf) : 0;
    }
    fail_msg("no verdict for call %d", data->nr);
    return 0;
}

/* What the rules themselves say. */
static uint32_t first_that_holds(const struct filter_rule *rules, size_t count, uint32_t otherwise,
                                 const struct seccomp_data *data)
{
    for (size_t i = 0; i < count; i++) {
        if (rules[i].row->number == data->nr && policy_row_holds(rules[i].row, data))
            return rules[i].action;
    }
    return otherwise;
}

/* ---- the two compilers ---- */

static void compile(const struct filter_rule *rules, size_t count, uint32_t otherwise, struct program *program)
{
    program->length = filter_compile(rules, count, otherwise, program->code, LENGTH_MOST);
    assert_true(program->length > 0);
    memmove(program->code, program->code + LENGTH_MOST - program->length, program->length * sizeof program->code[0]);
}

static unsigned arguments_of(const struct call_row *row, struct scmp_arg_cmp arguments[2])
{
    unsigned count = 0;
    for (size_t i = 0; i < COUNT(row->check); i++) {
        const struct argument_check *check = &row->check[i];
        if (check->compare == ARG_EQUAL)
            arguments[count++] = SCMP_CMP64(check->index, SCMP_CMP_EQ, check->value);
        else if (check->compare == ARG_OTHER)
            arguments[count++] = SCMP_CMP64(check->index, SCMP_CMP_NE, check->value);
        else if (check->compare == ARG_MASKED)
            arguments[count++] = SCMP_CMP64(check->index, SCMP_CMP_MASKED_EQ, check->mask, check->value);
    }
    return count;
}

static void compile_by_libseccomp(const struct filter_rule *rules, size_t count, uint32_t otherwise,
                                  struct program *program)
{
    assert_int_equal(seccomp_api_set(5), 0); /* whatever this kernel knows */
    scmp_filter_ctx filter = seccomp_init(otherwise);
    assert_non_null(filter);
    assert_int_equal(seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), 0);
    assert_int_equal(seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2), 0);
    for (size_t i = 0; i < count; i++) {
        struct scmp_arg_cmp arguments[2];
        unsigned checks = arguments_of(rules[i].row, arguments);
        int result = seccomp_rule_add_exact_array(filter, rules[i].action, rules[i].row->number, checks, arguments);
        if (result)
            fail_msg("libseccomp: rule %zu, call %d: %s", i, rules[i].row->number, strerror(-result));
    }
    int fd = memfd_create("filter", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(seccomp_export_bpf(filter, fd), 0);
    ssize_t size = pread(fd, program->code, sizeof program->code, 0);
    assert_true(size > 0 && (size_t)size < sizeof program->code);
    program->length = (size_t)size / sizeof program->code[0];
    close(fd);
    seccomp_release(filter);
}

/* ---- the calls that are tried ---- */

/* Values of one argument. */
struct values {
    uint64_t value[VALUES_MOST];
    size_t count;
};

static void add_value(struct values *values, uint64_t value)
{
    assert_true(values->count < VALUES_MOST);
    values->value[values->count++] = value;
}

/* What lies on both sides of everything that a check of this argument could look at. */
static void add_values_around(struct values *values, const struct argument_check *check, bool thorough)
{
    add_value(values, check->value);
    add_value(values, check->value | UINT64_C(1) << 32);
    add_value(values, check->value | ~check->mask);
    add_value(values, check->value + 1);
    add_value(values, check->value - 1);
    for (unsigned bit = 0; thorough && bit < 64; bit++)
        add_value(values, check->value ^ UINT64_C(1) << bit);
}

static void values_of(struct values values[6], int number, const struct call_row *const *rows, size_t count,
                      bool thorough)
{
    for (size_t i = 0; i < 6; i++) {
        values[i].count = 0;
        add_value(&values[i], i + 1);
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; rows[i]->number == number && j < COUNT(rows[i]->check); j++) {
            if (rows[i]->check[j].compare != ARG_ANY)
                add_values_around(&values[rows[i]->check[j].index], &rows[i]->check[j], thorough);
        }
    }
}

/* One call after another: each value with each of the other arguments'. False when there are no more. */
static bool next_call(const struct values values[6], size_t which[6], struct seccomp_data *data)
{
    size_t i = 0;
    while (i < 6 && ++which[i] == values[i].count)
        which[i++] = 0;
    for (size_t j = 0; j < 6; j++)
        data->args[j] = values[j].value[which[j]];
    return i < 6;
}

/* ---- the policy ---- */

static void compare_call(const struct program programs[2], const struct filter_rule *rules, size_t count,
                         uint32_t otherwise, const struct seccomp_data *data)
{
    bool asked, theirs_asked;
    uint32_t ours = interpret(&programs[0], data, &asked), theirs = interpret(&programs[1], data, &theirs_asked);
    if (ours != theirs)
        fail_msg("call %#x of %#x (%#jx, %#jx, %#jx, %#jx, %#jx, %#jx) gets %#x, by libseccomp %#x", data->nr,
                 data->arch, (uintmax_t)data->args[0], (uintmax_t)data->args[1], (uintmax_t)data->args[2],
                 (uintmax_t)data->args[3], (uintmax_t)data->args[4], (uintmax_t)data->args[5], ours, theirs);
    if ((uint32_t)data->nr < FILTER_KEPT && asked && !theirs_asked)
        fail_msg("call %#x: the kernel cannot keep its verdict", data->nr);
    if (data->arch == seccomp_arch_native() && (uint32_t)data->nr < 0x40000000)
        assert_int_equal(ours, first_that_holds(rules, count, otherwise, data));
}

static const uint32_t odd_numbers[] = {1023,       4096,       0x3fffffff, 0x40000000, 0x40000001,
                                       0x4000003b, 0x40000200, 0x7fffffff, 0x80000000, 0x80000001,
                                       0xbfffffff, 0xc0000000, 0xfffffffe, 0xffffffff};
static const uint32_t odd_architectures[] = {AUDIT_ARCH_I386, AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64, AUDIT_ARCH_ARM, 0,
                                             UINT32_MAX};

static size_t compare_plan(const struct jail_plan *plan, bool thorough)
{
    static struct program programs[2];
    static struct filter_rule rules[RULES_MOST];
    static const struct call_row *rows[RULES_MOST];
    static struct values values[6];
    uint32_t otherwise;
    assert_true(policy_call_count <= RULES_MOST);
    size_t count = seccomp_rules(plan, rules, &otherwise);
    compile(rules, count, otherwise, &programs[0]);
    compile_by_libseccomp(rules, count, otherwise, &programs[1]);
    assert_true(programs[0].length < programs[1].length);
    for (size_t i = 0; i < policy_call_count; i++)
        rows[i] = &policy_calls[i]; /* all: a row that does not count leaves no trace */
    for (int number = 0; number <= 600; number++) {
        struct seccomp_data data = {.nr = number, .arch = seccomp_arch_native()};
        size_t which[6] = {SIZE_MAX};
        values_of(values, number, rows, policy_call_count, thorough);
        while (next_call(values, which, &data))
            compare_call(programs, rules, count, otherwise, &data);
    }
    for (size_t i = 0; i < COUNT(odd_numbers); i++)
        compare_call(programs, rules, count, otherwise,
                     &(struct seccomp_data){.nr = (int)odd_numbers[i], .arch = seccomp_arch_native()});
    for (size_t i = 0; i < COUNT(odd_architectures); i++) {
        for (int number = 0; number <= 600; number++)
            compare_call(programs, rules, count, otherwise,
                         &(struct seccomp_data){.nr = number, .arch = odd_architectures[i]});
    }
    return programs[0].length;
}

static struct jail_plan plan_of(unsigned kind, uint32_t engine)
{
    return (struct jail_plan){.layers = kind & 1 ? UINT32_MAX : UINT32_MAX & ~LAYER_BIT(LAYER_ROOT),
                              .denials = kind & 2,
                              .processes = kind & 4,
                              .namespaces = kind & 8 ? CLONE_NEWPID | CLONE_NEWUSER : 0,
                              .supervisor_maps = kind & 16,
                              .run_sets_ids = kind & 32,
                              .engine = engine};
}

static void test_filter_every_plan(void **state)
{
    size_t shortest = SIZE_MAX, longest = 0;
    (void)state;
    for (uint32_t engine = 0; engine < ENGINE_COUNT; engine++) {
        for (unsigned kind = 0; kind < 64; kind++) {
            struct jail_plan plan = plan_of(kind, engine);
            size_t length = compare_plan(&plan, engine == ENGINE_CLONE && kind < 16);
            shortest = length < shortest ? length : shortest;
            longest = length > longest ? length : longest;
        }
    }
    printf("%zu to %zu instructions\n", shortest, longest);
}

static void test_filter_every_row_left_out(void **state)
{
    (void)state;
    for (unsigned kind = 8; kind < 16; kind++) {
        struct jail_plan plan = plan_of(kind, ENGINE_CLONE);
        for (plan.without_row = 1; plan.without_row <= policy_call_count; plan.without_row++)
            compare_plan(&plan, false);
    }
}

/* ---- any rules ---- */

static uint64_t seed;

static uint32_t roll(uint32_t sides)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33) % sides;
}

static uint64_t roll_value(void)
{
    static const uint64_t values[] = {0, 1, 2, 7, 0x400, 0x80000000, UINT32_MAX, UINT64_C(1) << 32, UINT64_MAX};
    uint32_t way = roll(3);
    return way == 0 ? values[roll(COUNT(values))] : way == 1 ? roll(1 << 12) : (uint64_t)roll(INT32_MAX) << roll(33);
}

static void roll_row(struct call_row *row, uint32_t numbers)
{
    *row = (struct call_row){.number = (int)roll(numbers)};
    for (size_t i = 0, checks = roll(3); i < checks; i++) {
        struct argument_check *check = &row->check[i];
        *check = (struct argument_check){(uint8_t)roll(6), (uint8_t)(ARG_EQUAL + roll(3)), roll_value(), roll_value()};
        if (check->compare == ARG_MASKED && roll(4))
            check->value &= check->mask;
    }
}

/* Rules that overlap, contradict and never hold, few and so many that no jump reaches over all. */
static void test_filter_any_rules(void **state)
{
    static const uint32_t actions[] = {SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_ERRNO | 38,
                                       SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_USER_NOTIF};
    static struct call_row rows[RULES_MOST];
    static const struct call_row *all[RULES_MOST];
    static struct filter_rule rules[RULES_MOST];
    static struct program program;
    static struct values values[6];
    bool asked;
    (void)state;
    for (seed = 0; seed < 200; seed++) {
        uint64_t round = seed;
        size_t count = roll(10) ? roll(60) : roll(RULES_MOST);
        uint32_t numbers = 1 + roll(roll(2) ? 40 : 700), kinds = 1 + roll(COUNT(actions)),
                 otherwise = actions[roll(kinds)];
        for (size_t i = 0; i < count; i++) {
            roll_row(&rows[i], numbers);
            if (i > 0 && roll(4) == 0) { /* a neighbour that differs in little */
                rows[i] = rows[i - 1];
                rows[i].number += (int)roll(2);
            }
            all[i] = &rows[i];
            rules[i] = (struct filter_rule){&rows[i], actions[roll(kinds)]};
        }
        compile(rules, count, otherwise, &program);
        for (uint32_t number = 0; number <= numbers; number++) {
            struct seccomp_data data = {.nr = (int)number, .arch = seccomp_arch_native()};
            values_of(values, (int)number, all, count, true);
            for (unsigned tries = 0; tries < 300; tries++) {
                for (size_t i = 0; i < 6; i++)
                    data.args[i] = values[i].value[roll((uint32_t)values[i].count)];
                assert_int_equal(interpret(&program, &data, &asked), first_that_holds(rules, count, otherwise, &data));
            }
        }
        seed = round;
    }
}

/* Never a byte outside, and never a part of a program. */
static void test_filter_does_not_fit(void **state)
{
    static struct filter_rule rules[RULES_MOST];
    static struct program program;
    struct jail_plan plan = plan_of(15, ENGINE_CLONE);
    uint32_t otherwise;
    size_t count = seccomp_rules(&plan, rules, &otherwise);
    (void)state;
    compile(rules, count, otherwise, &program);
    for (size_t size = 0; size <= program.length; size++) {
        struct sock_filter *exact = calloc(size + !size, sizeof *exact);
        assert_non_null(exact);
        assert_int_equal(filter_compile(rules, count, otherwise, exact, size), size == program.length ? size : 0);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filter_every_plan),
        cmocka_unit_test(test_filter_every_row_left_out),
        cmocka_unit_test(test_filter_any_rules),
        cmocka_unit_test(test_filter_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
