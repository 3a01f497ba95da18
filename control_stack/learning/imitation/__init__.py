"""Off-policy adversarial imitation with a Lipschitz reward: arms, members stacked in one program, experts, tasks.

Source: Blonde, Strasser, Kalousis 2020, "Lipschitzness Is All You Need To Tame Off-policy GAIL". Needs torch.
"""
