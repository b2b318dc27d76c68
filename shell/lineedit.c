/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lineedit - see lineedit.h.  cols and cursor are what the terminal shows as far as we know it; a
 * character is one column, the bytes that continue a UTF-8 sequence none.
 */
#include "shell/lineedit.h"
#include "kernel/api/mem.h"
#include "kernel/api/string.h"
#include "shell/words.h"

#define COLUMNS 80

enum { ESC_NONE, ESC_BEGUN, ESC_CSI, ESC_SS3 };
enum {
	CTRL_A = 1,
	CTRL_B,
	CTRL_C,
	CTRL_D,
	CTRL_E,
	CTRL_F,
	CTRL_H = 8,
	CTRL_K = 11,
	CTRL_L,
	CTRL_N = 14,
	CTRL_P = 16,
	CTRL_U = 21,
	CTRL_W = 23,
	ESC = 27,
	DEL = 127
};

static struct mem_tag edit_tag = MEM_TAG("shell lines");

/* ---- the terminal ---- */

static bool is_tail(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

static size_t columns(const char *s, size_t n)
{
	size_t cols = 0;

	for (size_t i = 0; i < n; i++)
		cols += !is_tail(s[i]);
	return cols;
}

static void show(struct lineedit *le, const char *s)
{
	le->out(le->ctx, s, strlen(s));
}

static void show_times(struct lineedit *le, const char *s, size_t times)
{
	while (times--)
		show(le, s);
}

/* A tab is kept as what it is and shown as a space. */
static void show_text(struct lineedit *le, const char *s, size_t n)
{
	while (n) {
		const char *tab = memchr(s, '\t', n);
		size_t run = tab ? (size_t)(tab - s) : n;

		if (run)
			le->out(le->ctx, s, run);
		s += run;
		n -= run;
		if (n) {
			show(le, " ");
			s++;
			n--;
		}
	}
}

/* Where the character in that column begins. */
static size_t index_of(const struct lineedit *le, size_t column)
{
	size_t i = 0;

	for (; i < le->len; i++)
		if (!is_tail(le->buf[i]) && column-- == 0)
			break;
	return i;
}

static void draw_window(struct lineedit *le)
{
	size_t width = COLUMNS - 3, cols = columns(le->buf, le->len);
	size_t cur = columns(le->buf, le->pos);
	size_t from = cur > width * 2 / 3 ? cur - width * 2 / 3 : 0;
	size_t to = MIN(cols, from + width);
	size_t first = index_of(le, from);

	le->window = true;
	show(le, "\r\x1b[K> ");
	show_text(le, le->buf + first, index_of(le, to) - first);
	show_times(le, "\b", to - cur);
}

/* The text changed from byte `from` on, the cursor perhaps too. */
static void draw(struct lineedit *le, size_t from)
{
	size_t cols = columns(le->buf, le->len), at, end;

	if (le->window || strlen(le->again) + MAX(cols, le->cols) >= COLUMNS) {
		draw_window(le);
		return;
	}
	at = columns(le->buf, from);
	if (le->cursor > at) {
		show_times(le, "\b", le->cursor - at);
	} else if (le->cursor < at) {
		size_t first = index_of(le, le->cursor);

		show_text(le, le->buf + first, from - first);
	}
	show_text(le, le->buf + from, le->len - from);
	end = MAX(cols, le->cols);
	show_times(le, " ", end - cols);
	le->cols = cols;
	le->cursor = columns(le->buf, le->pos);
	show_times(le, "\b", end - le->cursor);
}

/* All of it on a fresh row. */
static void draw_again(struct lineedit *le)
{
	le->window = false;
	le->cols = le->cursor = 0;
	show(le, le->again);
	draw(le, 0);
}

static void move(struct lineedit *le, size_t pos)
{
	size_t from;

	if (pos == le->pos)
		return;
	from = MIN(pos, le->pos);
	if (pos < le->pos && !le->window && strlen(le->again) + le->cols < COLUMNS) {
		le->pos = pos;
		pos = columns(le->buf, pos);
		show_times(le, "\b", le->cursor - pos);
		le->cursor = pos;
		return;
	}
	le->pos = pos;
	draw(le, from);
}

/* ---- the text ---- */

static bool reserve(struct lineedit *le, size_t len)
{
	size_t size = MAX(le->size, (size_t)128);
	char *buf;

	if (len > le->max)
		return false;
	if (len < le->size)
		return true;
	while (size <= len)
		size *= 2;
	buf = mem_alloc(&edit_tag, size);
	if (!buf)
		return false;
	if (le->len)
		memcpy(buf, le->buf, le->len);
	mem_free_wipe(le->buf);
	le->buf = buf;
	le->size = size;
	return true;
}

static void insert(struct lineedit *le, const char *s, size_t n)
{
	size_t pos = le->pos;

	if (le->overflow || !n)
		return;
	if (!reserve(le, le->len + n)) {
		le->overflow = true;
		return;
	}
	memmove(le->buf + pos + n, le->buf + pos, le->len - pos);
	memcpy(le->buf + pos, s, n);
	le->len += n;
	le->used = MAX(le->used, le->len);
	le->pos += n;
	if (le->pos < le->len) {
		draw(le, pos);
		return;
	}
	show_text(le, s, n);
	le->cursor += columns(s, n);
	le->cols = le->cursor;
}

/* Deletes [from, to), in which or at the end of which the cursor is. */
static void cut(struct lineedit *le, size_t from, size_t to)
{
	if (from == to)
		return;
	memmove(le->buf + from, le->buf + to, le->len - to);
	le->len -= to - from;
	le->pos = from;
	draw(le, from);
}

static size_t before(const struct lineedit *le, size_t pos)
{
	if (pos)
		pos--;
	while (pos && is_tail(le->buf[pos]))
		pos--;
	return pos;
}

static size_t after(const struct lineedit *le, size_t pos)
{
	if (pos < le->len)
		pos++;
	while (pos < le->len && is_tail(le->buf[pos]))
		pos++;
	return pos;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static size_t word_before(const struct lineedit *le)
{
	size_t pos = le->pos;

	while (pos && is_blank(le->buf[pos - 1]))
		pos--;
	while (pos && !is_blank(le->buf[pos - 1]))
		pos--;
	return pos;
}

static size_t word_after(const struct lineedit *le)
{
	size_t pos = le->pos;

	while (pos < le->len && is_blank(le->buf[pos]))
		pos++;
	while (pos < le->len && !is_blank(le->buf[pos]))
		pos++;
	return pos;
}

/* ---- history ---- */

static char *keep(const char *s, size_t n)
{
	char *copy = mem_alloc(&edit_tag, n + 1);

	if (copy && n)
		memcpy(copy, s, n);
	return copy;
}

static const char *history_line(const struct history *h, unsigned back)
{
	return h->lines[(h->next + HISTORY_LINES - back) % HISTORY_LINES];
}

void history_add(struct history *h, const char *line)
{
	size_t len = strlen(line);
	char *copy;

	if (!len || len > HISTORY_LINE_MAX || line[0] == ' ' || words_secret(line))
		return;
	if (h->nr && !strcmp(history_line(h, 1), line))
		return;
	copy = keep(line, len);
	if (!copy)
		return;
	mem_free(h->lines[h->next]);
	h->lines[h->next] = copy;
	h->next = (h->next + 1) % HISTORY_LINES;
	if (h->nr < HISTORY_LINES)
		h->nr++;
}

void history_free(struct history *h)
{
	for (unsigned i = 0; i < HISTORY_LINES; i++)
		mem_free(h->lines[i]);
	*h = (struct history){ 0 };
}

static void set_line(struct lineedit *le, const char *s)
{
	size_t n = strlen(s);

	if (!reserve(le, n))
		return;
	if (n)
		memcpy(le->buf, s, n);
	le->len = le->pos = n;
	le->used = MAX(le->used, n);
	draw(le, 0);
}

static void older(struct lineedit *le)
{
	if (!le->interactive || !le->history || le->hist_back == le->history->nr)
		return;
	if (!le->hist_back) {
		le->stash = keep(le->buf, le->len);
		if (!le->stash)
			return;
	}
	le->hist_back++;
	set_line(le, history_line(le->history, le->hist_back));
}

static void newer(struct lineedit *le)
{
	if (!le->hist_back)
		return;
	if (--le->hist_back) {
		set_line(le, history_line(le->history, le->hist_back));
		return;
	}
	set_line(le, le->stash);
	mem_free_wipe(le->stash);
	le->stash = NULL;
}

/* ---- Tab ---- */

static void list_candidates(struct lineedit *le, struct completions *c)
{
	const char *p = strbuf_text(&c->list);

	show(le, "\r\n");
	while (*p) {
		const char *end = strchr(p, '\n');
		size_t n = end ? (size_t)(end - p) : strlen(p);

		le->out(le->ctx, p, n);
		show(le, "\r\n");
		p += n + (end ? 1 : 0);
	}
	draw_again(le);
}

/*
 * A Tab may be the white space of a piped line.  So it is white space inside quotes, after a word
 * that is whole already or can be nothing we know, and nothing where there is white space and more
 * to come; it completes only what would be an error otherwise.
 */
static void tab(struct lineedit *le, bool again)
{
	struct completions c = { 0 };

	if (!le->interactive || !le->complete) {
		insert(le, "\t", 1);
		return;
	}
	le->complete(le->ctx, le->buf, le->pos, &c);
	if (c.literal) {
		insert(le, "\t", 1);
	} else if (c.begun_empty && (!c.nr || (le->more && le->more(le->ctx)))) {
		;
	} else if (c.exact || !c.nr) {
		insert(le, " ", 1);
	} else if (c.insert.len || c.nr == 1) {
		insert(le, strbuf_text(&c.insert), c.insert.len);
		if (c.nr == 1)
			insert(le, " ", 1);
	} else if (again) {
		list_candidates(le, &c);
	} else {
		le->tabbed = true;
	}
	strbuf_free(&c.insert);
	strbuf_free(&c.list);
}

/* ---- keys ---- */

static void escape_key(struct lineedit *le, char c)
{
	bool word = le->esc_mod == 3 || le->esc_mod == 5; /* with Alt or Ctrl */

	if (c == '~')
		c = le->esc_arg == 1 || le->esc_arg == 7   ? 'H'
		    : le->esc_arg == 4 || le->esc_arg == 8 ? 'F'
		    : le->esc_arg == 3                     ? 'd'
							   : 0;
	switch (c) {
	case 'A':
		older(le);
		break;
	case 'B':
		newer(le);
		break;
	case 'C':
		move(le, word ? word_after(le) : after(le, le->pos));
		break;
	case 'D':
		move(le, word ? word_before(le) : before(le, le->pos));
		break;
	case 'H':
		move(le, 0);
		break;
	case 'F':
		move(le, le->len);
		break;
	case 'd':
		cut(le, le->pos, after(le, le->pos));
		break;
	default:
		break;
	}
}

/* True: the byte belonged to an escape sequence.  A control byte ends any of them and counts. */
static bool escape(struct lineedit *le, char c)
{
	uint8_t state = le->esc;

	if (c == ESC) {
		le->esc = ESC_BEGUN;
		return true;
	}
	if (state == ESC_NONE)
		return false;
	le->esc = ESC_NONE;
	if ((unsigned char)c < 0x20)
		return false;
	if (state == ESC_BEGUN) {
		le->esc_arg = le->esc_mod = 0;
		if (c == '[')
			le->esc = ESC_CSI;
		else if (c == 'O')
			le->esc = ESC_SS3;
		else if (c == 'b')
			move(le, word_before(le));
		else if (c == 'f')
			move(le, word_after(le));
		return true;
	}
	if (state == ESC_CSI && (unsigned char)c < 0x40) {
		/* ESC [ key ; modifiers letter: the number being read is in esc_mod. */
		le->esc = ESC_CSI;
		if (c >= '0' && c <= '9') {
			le->esc_mod = (le->esc_mod * 10 + (unsigned)(c - '0')) % 1000;
		} else if (c == ';') {
			le->esc_arg = le->esc_mod;
			le->esc_mod = 0;
		}
		return true;
	}
	if (!le->esc_arg) {
		le->esc_arg = le->esc_mod;
		le->esc_mod = 0;
	}
	escape_key(le, c);
	return true;
}

static enum lineedit_event end_line(struct lineedit *le, enum lineedit_event event)
{
	if (!reserve(le, le->len)) /* only an empty line can fail here: no memory at all */
		return EDIT_CANCEL;
	le->buf[le->len] = '\0';
	return event;
}

static enum lineedit_event control(struct lineedit *le, char c, bool tabbed)
{
	switch (c) {
	case '\r':
	case '\n':
		show(le, "\r\n");
		return end_line(le, EDIT_LINE);
	case CTRL_C:
		show(le, "^C\r\n");
		return end_line(le, EDIT_CANCEL);
	case CTRL_D:
		if (!le->interactive || !le->len)
			return end_line(le, EDIT_END);
		cut(le, le->pos, after(le, le->pos));
		break;
	case CTRL_A:
		move(le, 0);
		break;
	case CTRL_B:
		move(le, before(le, le->pos));
		break;
	case CTRL_E:
		move(le, le->len);
		break;
	case CTRL_F:
		move(le, after(le, le->pos));
		break;
	case CTRL_H:
	case DEL:
		cut(le, before(le, le->pos), le->pos);
		break;
	case CTRL_K:
		le->len = le->pos;
		draw(le, le->pos);
		break;
	case CTRL_L:
		show(le, "\x1b[H\x1b[2J");
		draw_again(le);
		break;
	case CTRL_N:
		newer(le);
		break;
	case CTRL_P:
		older(le);
		break;
	case CTRL_U:
		le->overflow = false;
		cut(le, 0, le->pos);
		break;
	case CTRL_W:
		cut(le, word_before(le), le->pos);
		break;
	case '\t':
		tab(le, tabbed);
		break;
	default:
		break;
	}
	return EDIT_MORE;
}

enum lineedit_event lineedit_feed(struct lineedit *le, char c)
{
	bool after_cr = le->after_cr, tabbed = le->tabbed;

	le->after_cr = c == '\r';
	if (c == '\n' && after_cr)
		return EDIT_MORE;
	le->tabbed = false;
	if (escape(le, c))
		return EDIT_MORE;
	if ((unsigned char)c < 0x20 || c == DEL)
		return control(le, c, tabbed);
	insert(le, &c, 1);
	return EDIT_MORE;
}

void lineedit_begin(struct lineedit *le)
{
	mem_free_wipe(le->stash);
	le->stash = NULL;
	if (le->size > HISTORY_LINE_MAX) {
		mem_free_wipe(le->buf);
		le->buf = NULL;
		le->size = 0;
	} else if (le->used) {
		memset(le->buf, 0, le->used);
	}
	le->len = le->pos = le->used = 0;
	le->cols = le->cursor = 0;
	le->hist_back = 0;
	le->overflow = le->window = le->tabbed = false;
	le->esc = ESC_NONE;
}

void lineedit_free(struct lineedit *le)
{
	lineedit_begin(le);
	mem_free_wipe(le->buf);
	le->buf = NULL;
	le->size = 0;
}
