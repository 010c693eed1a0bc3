/* Reading the plan (src/operations.ts has the format): its shape is checked and every read is bounded. */
#include "launcher.h"

uint32_t get_u32(const unsigned char *at)
{
	uint32_t value = 0;
	for (int i = 0; i < 4; i++)
		value |= (uint32_t)at[i] << (8 * i);
	return value;
}

uint32_t take_u32(struct operation *op)
{
	if (op->end - op->at < 4)
		fail(EBADMSG, "plan");
	op->at += 4;
	return get_u32(op->at - 4);
}

uint64_t take_u64(struct operation *op)
{
	uint64_t low = take_u32(op);
	return low | (uint64_t)take_u32(op) << 32;
}

const unsigned char *take_bytes(struct operation *op, uint32_t *size)
{
	*size = take_u32(op);
	if ((size_t)(op->end - op->at) < *size)
		fail(EBADMSG, "plan");
	const unsigned char *at = op->at;
	op->at += *size;
	return at;
}

/* Text ends in a zero byte that its length counts, so it can be used where it lies. */
const char *take_text(struct operation *op)
{
	uint32_t size;
	const char *text = (const char *)take_bytes(op, &size);
	if (size == 0 || memchr(text, 0, size) != text + size - 1)
		fail(EBADMSG, "plan");
	return text;
}

void end_of(const struct operation *op)
{
	if (op->at != op->end)
		fail(EBADMSG, "plan");
}

int read_exactly(int fd, unsigned char *to, size_t size)
{
	while (size > 0) {
		ssize_t n = read(fd, to, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		to += n;
		size -= (size_t)n;
	}
	return 0;
}

/* The operations stay where they lie: `bytes` must outlive them. */
void read_plan(const unsigned char *bytes, size_t size)
{
	struct operation plan = {.at = bytes, .end = bytes + size};
	operation_count = take_u32(&plan);
	if (operation_count > MAX_OPERATIONS)
		fail(E2BIG, "plan");
	for (uint32_t i = 0; i < operation_count; i++) {
		if (plan.end - plan.at < 2)
			fail(EBADMSG, "plan");
		operations[i].code = (uint16_t)(plan.at[0] | plan.at[1] << 8);
		plan.at += 2;
		uint32_t length;
		operations[i].at = take_bytes(&plan, &length);
		operations[i].end = operations[i].at + length;
	}
	end_of(&plan);
}

char **take_strings(struct operation *op)
{
	uint32_t count = take_u32(op);
	if (count > 65536)
		fail(E2BIG, "exec");
	char **strings = calloc(count + 1u, sizeof *strings);
	if (!strings)
		fail(ENOMEM, "exec");
	for (uint32_t i = 0; i < count; i++) {
		strings[i] = strdup(take_text(op));
		if (!strings[i])
			fail(ENOMEM, "exec");
	}
	return strings;
}

/* The operation to blame if clone3 fails. */
uint32_t index_of(uint16_t code)
{
	for (uint32_t i = 0; i < operation_count; i++)
		if (operations[i].code == code)
			return i;
	return NO_OPERATION;
}
