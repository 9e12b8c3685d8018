#compdef vctl volttron-ctl
# Completion of vctl; the program itself knows what can follow.
source <(vctl completions zsh 2>/dev/null)
