# fish completion of ocishim: what can follow is asked of the program itself.
complete -c ocishim -a '(ocishim complete -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
