/* SPDX-License-Identifier: BSD-2-Clause */
/* logring - line number seq lives in slot seq % nr until line seq + nr takes its place. */
#include "kernel/lib/logring.h"
#include "kernel/api/string.h"

_Static_assert(sizeof(struct log_slot) == 256, "slots are meant to fill cache lines");

void logring_write(
	struct logring *r, enum log_level level, uint64_t when_ns, const char *text, size_t len)
{
	struct log_slot *s = &r->slots[r->next_seq & (r->nr - 1)];

	s->when_ns = when_ns;
	s->level = (uint8_t)level;
	s->len = (uint8_t)MIN(len, (size_t)LOG_TEXT_MAX);
	for (unsigned i = 0; i < s->len; i++) {
		unsigned char c = (unsigned char)text[i];

		/* Bytes over 0x9f may be UTF-8; 0x80..0x9f are control codes to some terminals,
		 * and also UTF-8's continuation bytes, which is a loss to bear. */
		s->text[i] = c < 0x20 || (c >= 0x7f && c < 0xa0) ? '?' : (char)c;
	}
	r->next_seq++;
}

bool logring_read(const struct logring *r, uint64_t *seq, struct log_line *line)
{
	const struct log_slot *s;

	if (r->next_seq > r->nr && *seq < r->next_seq - r->nr)
		*seq = r->next_seq - r->nr;
	if (*seq >= r->next_seq)
		return false;
	s = &r->slots[*seq & (r->nr - 1)];
	line->seq = (*seq)++;
	line->when_ns = s->when_ns;
	line->level = s->level;
	memcpy(line->text, s->text, s->len);
	line->text[s->len] = '\0';
	return true;
}
