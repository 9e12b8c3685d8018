# Completion of vctl; the program itself knows what can follow.
vctl completions fish 2>/dev/null | source
