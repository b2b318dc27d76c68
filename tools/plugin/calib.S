/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * calib - a bare guest that executes a known number of instructions between marks 1 and 2, to check
 * the icount plugin: 2,000,009 of them (the first mark counts), of which a rep movsb of 4096
 * iterations, a rep stosl of 512, one more through a jump straight onto it, and one of none.
 * Multiboot, 32 bits; leaves through isa-debug-exit at port 0xf4.
 */
	.code32
	.section .text
	.align 4
	.long	0x1badb002, 0, -0x1badb002

	.macro	mark n
	.byte	0x0f, 0x1f, 0x84, 0x00, \n, 0x00, 0x4d, 0x6b
	.endm

	.globl	_start
_start:
	cld
	mov	$buffer, %esi
	mov	$buffer + 8192, %edi
	xor	%eax, %eax
	mark	1
	mov	$1000000, %ecx		/* + 1 + 2,000,000 */
1:	dec	%ecx
	jnz	1b
	mov	$4096, %ecx		/* + 2 */
	rep movsb
	mov	$512, %ecx		/* + 3 */
	jmp	2f
2:	rep stosl
	rep stosl			/* + 1: of none; enters once */
	inc	%eax			/* + 1 */
	mark	2			/* the marks: + 1 for the first */
	xor	%eax, %eax
	mov	$0xf4, %edx
	out	%al, %dx
3:	hlt
	jmp	3b

	.bss
	.align	4096
buffer:	.skip	16384
