#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# arbiter.sh FOLDER HOST: a folder that both hosts see decides; whoever asks first for a session has it.
# A file "only" in it names the one host that may.
only=$(cat "$1/only" 2>/dev/null)
if [ -n "$only" ] && [ "$only" != "$2" ]; then
	echo "only $only may" >&2
	exit 1
fi
ln -s "$2" "$1/$COLOD_SESSION" 2>/dev/null
[ "$(readlink "$1/$COLOD_SESSION")" = "$2" ] && exit 0
echo "the other host was first" >&2
exit 1
