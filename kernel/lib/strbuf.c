/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * strbuf - growing text, and the one formatter behind every printf of ours.  The formatter writes
 * pieces into a sink and knows nothing of where they go.
 */
#include "kernel/api/strbuf.h"
#include "kernel/api/mem.h"
#include "kernel/api/string.h"

static struct mem_tag strbuf_tag = MEM_TAG("text");

/* ---- the buffer ---- */

void strbuf_init(struct strbuf *sb, size_t max)
{
	*sb = (struct strbuf){ .max = max };
}

void strbuf_init_fixed(struct strbuf *sb, char *data, size_t size)
{
	*sb = (struct strbuf){ .data = data, .size = size, .max = size, .fixed = true };
	if (size)
		data[0] = '\0';
}

void strbuf_free(struct strbuf *sb)
{
	if (!sb->fixed) {
		mem_free(sb->data);
		sb->data = NULL;
		sb->size = 0;
	}
	strbuf_reset(sb);
}

void strbuf_reset(struct strbuf *sb)
{
	sb->len = 0;
	sb->truncated = false;
	if (sb->size)
		sb->data[0] = '\0';
}

/* Room for n more bytes and the terminator, or as much of it as can be had. */
static void strbuf_grow(struct strbuf *sb, size_t n)
{
	size_t max = sb->max ? sb->max : SIZE_MAX;
	size_t need, size;
	char *data;

	if (sb->fixed || __builtin_add_overflow(sb->len, n, &need) || need == SIZE_MAX)
		return;
	need = MIN(need + 1, max);
	if (need <= sb->size)
		return;
	size = MIN(MAX(MAX(need, (size_t)64), sb->size * 2), max);
	data = mem_alloc(&strbuf_tag, size);
	if (!data && size > need) {
		size = need;
		data = mem_alloc(&strbuf_tag, size);
	}
	if (!data)
		return;
	if (sb->len)
		memcpy(data, sb->data, sb->len);
	mem_free(sb->data);
	sb->data = data;
	sb->size = size;
}

void strbuf_write(struct strbuf *sb, const void *p, size_t n)
{
	size_t room;

	if (!n)
		return;
	if (sb->size <= sb->len || sb->size - sb->len <= n)
		strbuf_grow(sb, n);
	room = sb->size > sb->len ? sb->size - sb->len - 1 : 0;
	if (n > room) {
		sb->truncated = true;
		n = room;
	}
	if (!sb->size)
		return;
	memcpy(sb->data + sb->len, p, n);
	sb->len += n;
	sb->data[sb->len] = '\0';
}

void strbuf_putc(struct strbuf *sb, char c)
{
	strbuf_write(sb, &c, 1);
}

void strbuf_puts(struct strbuf *sb, const char *s)
{
	strbuf_write(sb, s, strlen(s));
}

const char *strbuf_text(struct strbuf *sb)
{
	return sb->size ? sb->data : "";
}

/* ---- the formatter ---- */

struct sink {
	void (*put)(struct sink *s, const char *p, size_t n);
	struct strbuf *sb; /* for strbufs */
	char *dst;         /* for arrays */
	size_t size, len;
};

enum { FLAG_LEFT = 1, FLAG_ZERO = 2, FLAG_PLUS = 4, FLAG_SPACE = 8, FLAG_ALT = 16 };

struct spec {
	unsigned flags;
	size_t width;
	size_t precision;
	bool has_precision;
	int length; /* bytes of the integer argument */
	char conv;
};

static void put_fill(struct sink *s, char c, size_t n)
{
	char run[32];

	memset(run, c, sizeof(run));
	for (; n > sizeof(run); n -= sizeof(run))
		s->put(s, run, sizeof(run));
	s->put(s, run, n);
}

/* prefix, zeros and body, padded with spaces to the width on one side. */
static void put_padded(struct sink *s, const struct spec *sp, const char *prefix, size_t prefix_len,
	size_t zeros, const char *body, size_t body_len)
{
	size_t used = prefix_len + zeros + body_len;
	size_t pad = sp->width > used ? sp->width - used : 0;

	if (!(sp->flags & FLAG_LEFT))
		put_fill(s, ' ', pad);
	s->put(s, prefix, prefix_len);
	put_fill(s, '0', zeros);
	s->put(s, body, body_len);
	if (sp->flags & FLAG_LEFT)
		put_fill(s, ' ', pad);
}

static void put_integer(struct sink *s, const struct spec *sp, uint64_t v, bool negative)
{
	static const char lower_digits[] = "0123456789abcdef", upper_digits[] = "0123456789ABCDEF";
	const char *set = sp->conv == 'X' ? upper_digits : lower_digits;
	unsigned base = sp->conv == 'o' ? 8 : sp->conv == 'x' || sp->conv == 'X' ? 16 : 10;
	char digits[24], prefix[2];
	char *p = digits + sizeof(digits);
	size_t prefix_len = 0, len, zeros = 0;
	bool nonzero = v != 0;

	if (base == 16)
		for (; v; v >>= 4)
			*--p = set[v & 15];
	else if (base == 8)
		for (; v; v >>= 3)
			*--p = set[v & 7];
	else
		for (; v; v /= 10)
			*--p = set[v % 10];
	if (!nonzero && !(sp->has_precision && sp->precision == 0))
		*--p = '0';
	len = (size_t)(digits + sizeof(digits) - p);

	if (sp->conv == 'd' || sp->conv == 'i') {
		if (negative)
			prefix[prefix_len++] = '-';
		else if (sp->flags & FLAG_PLUS)
			prefix[prefix_len++] = '+';
		else if (sp->flags & FLAG_SPACE)
			prefix[prefix_len++] = ' ';
	} else if (sp->flags & FLAG_ALT && base == 16 && nonzero) {
		prefix[prefix_len++] = '0';
		prefix[prefix_len++] = sp->conv;
	}
	if (sp->has_precision)
		zeros = sp->precision > len ? sp->precision - len : 0;
	else if ((sp->flags & (FLAG_ZERO | FLAG_LEFT)) == FLAG_ZERO && sp->width > prefix_len + len)
		zeros = sp->width - prefix_len - len;
	/* An octal number in the # form begins with a zero, whoever put it there. */
	if (sp->flags & FLAG_ALT && base == 8 && !zeros && (len == 0 || *p != '0'))
		zeros = 1;
	put_padded(s, sp, prefix, prefix_len, zeros, p, len);
}

static void put_string(struct sink *s, const struct spec *sp, const char *str)
{
	size_t len;

	if (!str)
		str = sp->has_precision && sp->precision < 6 ? "" : "(null)";
	len = sp->has_precision ? strnlen(str, sp->precision) : strlen(str);
	put_padded(s, sp, "", 0, 0, str, len);
}

static void put_pointer(struct sink *s, struct spec *sp, const void *p)
{
	if (!p) {
		sp->has_precision = false;
		put_string(s, sp, "(nil)");
		return;
	}
	sp->conv = 'x';
	sp->flags |= FLAG_ALT;
	put_integer(s, sp, (uintptr_t)p, false);
}

/* Digits at *fmt; what is over a million is nobody's width. */
static size_t parse_number(const char **fmt)
{
	size_t n = 0;

	for (; **fmt >= '0' && **fmt <= '9'; (*fmt)++)
		n = MIN(n * 10 + (size_t)(**fmt - '0'), (size_t)1000000);
	return n;
}

static unsigned parse_flags(const char **fmt)
{
	unsigned flags = 0;

	for (;; (*fmt)++) {
		switch (**fmt) {
		case '-':
			flags |= FLAG_LEFT;
			break;
		case '0':
			flags |= FLAG_ZERO;
			break;
		case '+':
			flags |= FLAG_PLUS;
			break;
		case ' ':
			flags |= FLAG_SPACE;
			break;
		case '#':
			flags |= FLAG_ALT;
			break;
		default:
			return flags;
		}
	}
}

static int parse_length(const char **fmt)
{
	char c = **fmt;

	if (c == 'h' || c == 'l') {
		(*fmt)++;
		if (**fmt != c)
			return c == 'h' ? 2 : 8;
		(*fmt)++;
		return c == 'h' ? 1 : 8;
	}
	if (c == 'z' || c == 't' || c == 'j') {
		(*fmt)++;
		return 8;
	}
	return 4;
}

/* An integer argument as its type's bits say. */
static uint64_t cut_unsigned(uint64_t v, int length)
{
	return length == 8 ? v : v & ((1ull << length * 8) - 1);
}

static int64_t cut_signed(uint64_t v, int length)
{
	unsigned shift = 64 - (unsigned)length * 8;

	return (int64_t)(v << shift) >> shift;
}

struct va {
	va_list ap;
};

static void format_one(struct sink *s, struct spec *sp, struct va *args)
{
	uint64_t v = 0;
	int64_t i;
	char c;

	switch (sp->conv) {
	case 'd':
	case 'i':
		v = sp->length == 8 ? va_arg(args->ap, uint64_t) : va_arg(args->ap, unsigned);
		i = cut_signed(v, sp->length);
		put_integer(s, sp, i < 0 ? 0 - (uint64_t)i : (uint64_t)i, i < 0);
		break;
	case 'u':
	case 'x':
	case 'X':
	case 'o':
		v = sp->length == 8 ? va_arg(args->ap, uint64_t) : va_arg(args->ap, unsigned);
		put_integer(s, sp, cut_unsigned(v, sp->length), false);
		break;
	case 'c':
		c = (char)va_arg(args->ap, int);
		put_padded(s, sp, "", 0, 0, &c, 1);
		break;
	case 's':
		put_string(s, sp, va_arg(args->ap, const char *));
		break;
	case 'p':
		put_pointer(s, sp, va_arg(args->ap, const void *));
		break;
	case '%':
		s->put(s, "%", 1);
		break;
	default:
		panic("printf: unknown conversion %%%c", sp->conv);
	}
}

static void format(struct sink *s, const char *fmt, struct va *args)
{
	while (*fmt) {
		struct spec sp = { 0 };
		const char *from = fmt;
		int n;

		while (*fmt && *fmt != '%')
			fmt++;
		if (fmt != from)
			s->put(s, from, (size_t)(fmt - from));
		if (!*fmt)
			return;
		fmt++;
		sp.flags = parse_flags(&fmt);
		if (*fmt == '*') {
			fmt++;
			n = va_arg(args->ap, int);
			if (n < 0)
				sp.flags |= FLAG_LEFT;
			sp.width = n < 0 ? (size_t) - (int64_t)n : (size_t)n;
		} else {
			sp.width = parse_number(&fmt);
		}
		if (*fmt == '.') {
			fmt++;
			sp.has_precision = true;
			if (*fmt == '*') {
				fmt++;
				n = va_arg(args->ap, int);
				sp.has_precision = n >= 0;
				sp.precision = n >= 0 ? (size_t)n : 0;
			} else {
				sp.precision = parse_number(&fmt);
			}
		}
		sp.length = parse_length(&fmt);
		sp.conv = *fmt;
		if (!*fmt)
			return;
		fmt++;
		format_one(s, &sp, args);
	}
}

static void put_strbuf(struct sink *s, const char *p, size_t n)
{
	strbuf_write(s->sb, p, n);
}

void strbuf_vprintf(struct strbuf *sb, const char *fmt, va_list ap)
{
	struct sink s = { .put = put_strbuf, .sb = sb };
	struct va args;

	va_copy(args.ap, ap);
	format(&s, fmt, &args);
	va_end(args.ap);
}

void strbuf_printf(struct strbuf *sb, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	strbuf_vprintf(sb, fmt, ap);
	va_end(ap);
}

static void put_array(struct sink *s, const char *p, size_t n)
{
	if (s->len < s->size)
		memcpy(s->dst + s->len, p, MIN(n, s->size - s->len));
	s->len += n;
}

size_t str_vprintf(char *dst, size_t size, const char *fmt, va_list ap)
{
	struct sink s = { .put = put_array, .dst = dst, .size = size - 1 };
	struct va args;

	va_copy(args.ap, ap);
	format(&s, fmt, &args);
	va_end(args.ap);
	dst[MIN(s.len, s.size)] = '\0';
	return s.len;
}

size_t str_printf(char *dst, size_t size, const char *fmt, ...)
{
	va_list ap;
	size_t len;

	va_start(ap, fmt);
	len = str_vprintf(dst, size, fmt, ap);
	va_end(ap);
	return len;
}
