# bash completion of ocishim: what can follow is asked of the program itself.
_ocishim() {
	local IFS=$'\n' words
	# Names of images have colons, at which bash splits words.
	if declare -F _get_comp_words_by_ref >/dev/null; then
		local cur cword
		_get_comp_words_by_ref -n : -w words -i cword -c cur
		COMPREPLY=($(ocishim complete -- "${words[@]:1:cword}" 2>/dev/null))
		__ltrim_colon_completions "$cur"
	else
		COMPREPLY=($(ocishim complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
	fi
	[ ${#COMPREPLY[@]} -gt 0 ] || compopt -o default
}
complete -F _ocishim ocishim
