/* The filter's compiler (filter.h). Trusts its rules, which are the policy's; knows nothing of what they are for. */
#include "filter.h"

#include "scope.h"

#include <linux/audit.h>
#include <sys/mman.h>

/* The kernel's name of what we are built for. (libseccomp knows, but it would be two mappings more in each clone.) */
#if defined(__x86_64__)
enum { NATIVE_ARCH = (int)AUDIT_ARCH_X86_64 };
#elif defined(__aarch64__)
enum { NATIVE_ARCH = (int)AUDIT_ARCH_AARCH64 };
#elif defined(__riscv)
enum { NATIVE_ARCH = (int)AUDIT_ARCH_RISCV64 };
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
enum { NATIVE_ARCH = (int)AUDIT_ARCH_PPC64LE };
#elif defined(__s390x__)
enum { NATIVE_ARCH = (int)AUDIT_ARCH_S390X };
#else
enum { NATIVE_ARCH = 0 };
#endif
_Static_assert(NATIVE_ARCH != 0, "this architecture's AUDIT_ARCH is missing above");

/* ---- what each number gets ---- */

/* The action of the first rule that holds, else `action`. */
struct verdict {
    const struct filter_rule *rules;
    size_t count;
    uint32_t action;
};

struct range {
    uint32_t first, last;
    struct verdict verdict;
};

static bool has_checks(const struct filter_rule *rule)
{
    return rule->row->check[0].compare != ARG_ANY;
}

static bool same_check(const struct argument_check *one, const struct argument_check *other)
{
    return one->compare == other->compare && one->index == other->index && one->mask == other->mask &&
           one->value == other->value;
}

static bool same_verdict(const struct verdict *one, const struct verdict *other)
{
    if (one->action != other->action || one->count != other->count)
        return false;
    for (size_t i = 0; i < one->count; i++) {
        const struct filter_rule *a = &one->rules[i], *b = &other->rules[i];
        if (a->action != b->action || !same_check(&a->row->check[0], &b->row->check[0]) ||
            !same_check(&a->row->check[1], &b->row->check[1]))
            return false;
    }
    return true;
}

/* By number; of one number in the order that they had. */
static void sort_rules(const struct filter_rule *rules, size_t count, struct filter_rule *sorted)
{
    for (size_t i = 0; i < count; i++) {
        size_t at = i;
        for (; at > 0 && sorted[at - 1].row->number > rules[i].row->number; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = rules[i];
    }
}

/* Appends the numbers up to `last` to what has been said of those before them. */
static void add_range(struct range *ranges, size_t *count, uint32_t last, struct verdict verdict)
{
    struct range *before = *count ? &ranges[*count - 1] : NULL;
    if (before && same_verdict(&before->verdict, &verdict))
        before->last = last;
    else
        ranges[(*count)++] = (struct range){before ? before->last + 1 : 0, last, verdict};
}

/* The verdict of the call of sorted[0]; *used is how many rules are its. */
static struct verdict verdict_of(const struct filter_rule *sorted, size_t count, uint32_t otherwise, size_t *used)
{
    struct verdict verdict = {sorted, 0, otherwise};
    bool whole = false;
    for (*used = 0; *used < count && sorted[*used].row->number == sorted[0].row->number; (*used)++) {
        if (!whole && !has_checks(&sorted[*used])) {
            verdict.action = sorted[*used].action;
            whole = true;
        }
        verdict.count += !whole;
    }
    return verdict;
}

/* All numbers from 0 on. Returns how many ranges they make. */
static size_t make_ranges(const struct filter_rule *sorted, size_t count, uint32_t otherwise, struct range *ranges)
{
    size_t made = 0, used;
    struct verdict rest = {NULL, 0, otherwise};
    for (size_t i = 0; i < count; i += used) {
        uint32_t number = (uint32_t)sorted[i].row->number;
        if (number > (made ? ranges[made - 1].last + 1 : 0))
            add_range(ranges, &made, number - 1, rest);
        add_range(ranges, &made, number, verdict_of(&sorted[i], count - i, otherwise, &used));
    }
#ifdef __x86_64__
    /* x32 calls have this architecture's mark and a bit in the number. -1 has it too, and is what a tracer puts in
     * place of a call that it skips. */
    add_range(ranges, &made, 0x3fffffff, rest);
    add_range(ranges, &made, UINT32_MAX - 1, (struct verdict){NULL, 0, SECCOMP_RET_KILL_PROCESS});
#endif
    add_range(ranges, &made, UINT32_MAX, rest);
    return made;
}

/* ---- the assembler ---- */

/* Jumps only go forward, so instructions are put in from the last to the first. A place is the number of instructions
 * from there to the end. */
struct assembly {
    struct sock_filter *program;
    size_t size, used;
    bool full;
};

static size_t emit(struct assembly *to, uint16_t code, uint32_t operand)
{
    if (to->used == to->size)
        to->full = true;
    else
        to->program[to->size - ++to->used] = (struct sock_filter)BPF_STMT(code, operand);
    return to->used;
}

/* A conditional jump skips so many instructions at most, less two that may come in between. */
enum { NEAR = UINT8_MAX - 2 };

static size_t near(struct assembly *to, size_t place)
{
    size_t skipped = to->used - place;
    return skipped <= NEAR ? place : emit(to, BPF_JMP | BPF_JA, (uint32_t)skipped);
}

static size_t jump(struct assembly *to, uint16_t test, uint32_t operand, size_t yes, size_t no)
{
    yes = near(to, yes);
    no = near(to, no);
    size_t from = to->used, place = emit(to, BPF_JMP | test | BPF_K, operand);
    if (!to->full) {
        to->program[to->size - place].jt = (uint8_t)(from - yes);
        to->program[to->size - place].jf = (uint8_t)(from - no);
    }
    return place;
}

/* A return with this action that a jump reaches. */
static size_t give(struct assembly *to, uint32_t action)
{
    for (size_t place = to->used; place > 0 && to->used - place <= NEAR; place--) {
        const struct sock_filter *at = &to->program[to->size - place];
        if (at->code == (BPF_RET | BPF_K) && at->k == action)
            return place;
    }
    return emit(to, BPF_RET | BPF_K, action);
}

/* ---- checks ---- */

/* One half of an argument, of which the program sees 32 bits at a time. */
struct half {
    uint32_t offset, mask, value;
};

static struct half half_of(const struct argument_check *check, bool upper)
{
    uint64_t mask = check->compare == ARG_MASKED ? check->mask : UINT64_MAX;
    bool second = upper == (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
    return (struct half){(uint32_t)offsetof(struct seccomp_data, args[0]) + check->index * 8U + second * 4U,
                         (uint32_t)(upper ? mask >> 32 : mask), (uint32_t)(upper ? check->value >> 32 : check->value)};
}

/* What is left of the half for the comparison: all of it where a test of bits will do. */
static uint32_t mask_before(struct half half)
{
    return half.value ? half.mask : UINT32_MAX;
}

/* `loaded`: whoever comes here has it in the accumulator. */
static size_t emit_half(struct assembly *to, struct half half, bool loaded, size_t yes, size_t no)
{
    size_t place = half.value || half.mask == UINT32_MAX ? jump(to, BPF_JEQ, half.value, yes, no)
                                                         : jump(to, BPF_JSET, half.mask, no, yes);
    if (loaded)
        return place;
    if (mask_before(half) != UINT32_MAX)
        emit(to, BPF_ALU | BPF_AND | BPF_K, half.mask);
    return emit(to, BPF_LD | BPF_W | BPF_ABS, half.offset);
}

static size_t emit_check(struct assembly *to, const struct argument_check *check, bool loaded, size_t yes, size_t no)
{
    struct half lower = half_of(check, false), upper = half_of(check, true);
    if (check->compare == ARG_ANY)
        return yes;
    if (check->compare == ARG_OTHER)
        return emit_half(to, upper, false, emit_half(to, lower, false, no, yes), yes);
    size_t place = lower.mask || lower.value ? emit_half(to, lower, loaded, yes, no) : yes;
    return upper.mask || upper.value ? emit_half(to, upper, false, place, no) : place;
}

/* Whether the rule only looks at the lower half of one argument. */
static bool is_short(const struct filter_rule *rule)
{
    const struct argument_check *check = rule->row->check;
    return check[0].compare == ARG_MASKED && check[0].mask && check[0].mask <= UINT32_MAX &&
           check[0].value <= UINT32_MAX && check[1].compare == ARG_ANY;
}

/* Whether a rule that did not hold leaves in the accumulator what the next looks at. */
static bool leaves_loaded(const struct filter_rule *rule, const struct filter_rule *next)
{
    if (!is_short(rule) || !is_short(next))
        return false;
    struct half one = half_of(&rule->row->check[0], false), other = half_of(&next->row->check[0], false);
    return one.offset == other.offset && mask_before(one) == mask_before(other);
}

static size_t emit_rule(struct assembly *to, const struct filter_rule *rule, bool loaded, size_t no)
{
    size_t place = give(to, rule->action);
    for (size_t i = COUNT(rule->row->check); i-- > 0;)
        place = emit_check(to, &rule->row->check[i], loaded && i == 0, place, no);
    return place;
}

static size_t emit_verdict(struct assembly *to, const struct verdict *verdict)
{
    size_t place = give(to, verdict->action);
    for (size_t i = verdict->count; i-- > 0;)
        place = emit_rule(to, &verdict->rules[i], i > 0 && leaves_loaded(&verdict->rules[i - 1], &verdict->rules[i]),
                          place);
    return place;
}

/* ---- the tree ---- */

/* What a tree costs: its instructions in each load, and the step of each number through each of them that is on its
 * way. */
enum { NUMBERS = 480, INSTRUCTION = 60 };

/* The cheapest tree over ranges[from] … ranges[to]. */
struct way {
    uint32_t cost;
    uint32_t split; /* the range with which its upper half begins; 0: it is one verdict, but for single numbers */
};

static uint32_t width(const struct range *ranges, size_t from, size_t to)
{
    uint32_t first = ranges[from].first, end = ranges[to].last < NUMBERS ? ranges[to].last + 1 : NUMBERS;
    return first < end ? end - first : 0;
}

/* How many of the ranges have another verdict than ranges[base]; SIZE_MAX when more than single numbers or than a few
 * have: a run makes the comparisons one after another. */
static size_t exceptions(const struct range *ranges, size_t from, size_t to, size_t base)
{
    enum { FEW = 4 };
    size_t found = 0;
    for (size_t i = from; i <= to; i++) {
        bool other = !same_verdict(&ranges[i].verdict, &ranges[base].verdict);
        if (other && (ranges[i].first != ranges[i].last || found == FEW))
            return SIZE_MAX;
        found += other;
    }
    return found;
}

/* The first range of the verdict that all but the fewest numbers have. Neighbours differ, so it is one of two. */
static size_t base_of(const struct range *ranges, size_t from, size_t to)
{
    return from < to && exceptions(ranges, from, to, from + 1) < exceptions(ranges, from, to, from) ? from + 1 : from;
}

enum { RANGES_MOST = 2 * FILTER_RULES_MOST + 3 };

struct workshop {
    struct filter_rule sorted[FILTER_RULES_MOST];
    struct range ranges[RANGES_MOST];
    struct way ways[RANGES_MOST][RANGES_MOST]; /* [from][to] */
    struct assembly to;
};

static struct way cheapest(const struct workshop *work, size_t from, size_t to)
{
    const struct range *ranges = work->ranges;
    uint32_t steps = width(ranges, from, to);
    size_t others = exceptions(ranges, from, to, base_of(ranges, from, to));
    struct way best = {others == SIZE_MAX ? UINT32_MAX : (uint32_t)others * (INSTRUCTION + steps), 0};
    for (size_t split = from + 1; split <= to; split++) {
        uint32_t cost = INSTRUCTION + steps + work->ways[from][split - 1].cost + work->ways[split][to].cost;
        if (cost < best.cost)
            best = (struct way){cost, (uint32_t)split};
    }
    return best;
}

static void plan_tree(struct workshop *work, size_t count)
{
    for (size_t length = 1; length <= count; length++) {
        for (size_t from = 0; from + length <= count; from++)
            work->ways[from][from + length - 1] = cheapest(work, from, from + length - 1);
    }
}

static size_t emit_exceptions(struct assembly *to, const struct range *ranges, size_t first, size_t last)
{
    const struct verdict *base = &ranges[base_of(ranges, first, last)].verdict;
    size_t place = emit_verdict(to, base);
    for (size_t i = last + 1; i-- > first;) {
        if (!same_verdict(&ranges[i].verdict, base))
            place = jump(to, BPF_JEQ, ranges[i].first, emit_verdict(to, &ranges[i].verdict), place);
    }
    return place;
}

/* The accumulator holds the number, which is of these ranges. */
static size_t emit_tree(struct workshop *work, size_t first, size_t last)
{
    size_t split = work->ways[first][last].split;
    if (split == 0)
        return emit_exceptions(&work->to, work->ranges, first, last);
    size_t above = emit_tree(work, split, last), below = emit_tree(work, first, split - 1);
    return jump(&work->to, BPF_JGE, work->ranges[split].first, above, below);
}

size_t filter_compile(const struct filter_rule *rules, size_t count, uint32_t otherwise, struct sock_filter *program,
                      size_t size)
{
    if (count > FILTER_RULES_MOST)
        return 0;
    /* Megabytes, of which little is touched. Not malloc()'s: it would serve the script's own large wishes in another
     * way once it had given back one as large as this. */
    struct workshop *work = mmap(NULL, sizeof *work, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (work == MAP_FAILED)
        return 0;
    struct assembly *to = &work->to;
    *to = (struct assembly){.program = program, .size = size};
    sort_rules(rules, count, work->sorted);
    size_t made = make_ranges(work->sorted, count, otherwise, work->ranges);
    plan_tree(work, made);
    emit_tree(work, 0, made - 1); /* its root is what is put in last */
    size_t native = emit(to, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    jump(to, BPF_JEQ, (uint32_t)NATIVE_ARCH, native, give(to, SECCOMP_RET_KILL_PROCESS));
    size_t first = emit(to, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    size_t look = emit(to, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]));
    jump(to, BPF_JGE, FILTER_KEPT, look, first);
    emit(to, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    size_t length = to->full ? 0 : to->used;
    munmap(work, sizeof *work);
    return length;
}
